"""Values as they cross between the grader and the process of a learner's code: as JSON, and bytes.

Only plain ones cross: None, numbers, words, arrays of numbers, tuples, lists, dicts, and the
NamedTuples and dataclasses of this package, by name. A function crosses as a number, under which
the other side calls it back (`grading_peer.py`). Nothing is unpickled: whatever a learner's code
sends, it becomes no code here.
"""

import dataclasses
import json
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from math import prod
from numbers import Number

import numpy as np

NUMBERS = "biufc"  # kinds of dtype
RECORDS = re.compile(
    r"spikebert_np\.(layers|blocks|models|data|analysis|training)\.\w+"
    r"|spikebert_np\.checking\.(differences|report)"
)
ROWS = re.compile(r"spikebert_np\.checking\.chapter_\d\d")  # whose objects are read by slices


class Remote:
    """A function of the other side."""

    def __init__(self, peer, number, name):
        self.peer, self.number, self.__name__ = peer, number, name

    def __call__(self, *args, **settings):
        return self.peer.call(self.number, *args, **settings)

    def compiled(self, *args):
        """The same, compiled by Numba over there."""
        return self.peer.call("compiled", self, args)


class RemoteRows:
    """An object of the other side that is read by slices, such as an array on disk."""

    def __init__(self, peer, number):
        self.peer, self.number = peer, number

    def __getitem__(self, rows):
        return self.peer.call("rows", self, rows)

    def __len__(self):
        return self.shape[0]

    @property
    def shape(self):
        return self.peer.call("shape", self)


class Encoder:
    """Values as what JSON can hold; arrays are put aside. A list begins with what it is."""

    def __init__(self, peer):
        self.peer, self.arrays = peer, []

    def head(self, *content):
        return json.dumps([[array.nbytes for array in self.arrays], content]).encode()

    def encode(self, value):
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return str(value)
        if isinstance(value, np.ndarray | np.generic | complex):
            return self._array(value)
        if isinstance(value, int | float):
            return value
        if isinstance(value, Remote | RemoteRows):
            return ["yours", value.number]
        if (fields := _fields(value)) is not None:
            cls = type(value)
            return ["record", cls.__module__, cls.__qualname__, *map(self.encode, fields)]
        if isinstance(value, list | tuple):
            return ["list" if isinstance(value, list) else "tuple", *map(self.encode, value)]
        if isinstance(value, dict):
            return ["dict", *([self.encode(k), self.encode(v)] for k, v in value.items())]
        if isinstance(value, Iterator):
            return ["list", *map(self.encode, value)]
        if isinstance(value, slice):
            return ["slice", *map(self.encode, (value.start, value.stop, value.step))]
        if callable(value):
            return ["mine", self._shared(value), str(getattr(value, "__name__", "answer"))]
        if ROWS.fullmatch(type(value).__module__):
            return ["rows", self._shared(value)]
        if isinstance(value, Number) or hasattr(value, "__array__"):  # a Fraction, a tensor
            return self._array(np.asarray(value, np.float64))
        raise TypeError(
            f"a {type(value).__name__} cannot be marked: give arrays, numbers, words, tuples, "
            "lists or dicts"
        )

    def _shared(self, value):
        """The number under which the other side may ask for it."""
        if not any(value is known for known in self.peer.shared):
            self.peer.shared.append(value)
        return next(number for number, known in enumerate(self.peer.shared) if known is value)

    def _array(self, value):
        array = np.asarray(value)
        if array.dtype.kind == "O":
            value = array = array.astype(np.float64)
        if array.dtype.kind not in NUMBERS:
            raise TypeError(f"an array of {array.dtype} cannot be marked: give numbers")
        self.arrays.append(value if isinstance(value, np.ndarray) else array)
        kind = "array" if isinstance(value, np.ndarray) else "scalar"
        return [kind, array.dtype.str, list(array.shape), len(self.arrays) - 1]


class Decoder:
    """The other way. Raises whatever it stumbles on: nothing is believed."""

    def __init__(self, peer, sizes, body):
        self.peer, self.arrays, self.bytes, begin = peer, [], [], 0
        for size in sizes:
            self.bytes.append(body[begin : begin + size])
            begin += size

    def decode(self, node):
        if not isinstance(node, list):
            return node
        kind, *entries = node
        if kind in ("array", "scalar"):
            array = self._array(*entries)
            return array if kind == "array" else array[()]
        if kind == "yours":
            return self.peer.shared[entries[0]]
        if kind == "mine":
            number, name = entries
            return Remote(self.peer, int(number), str(name))
        if kind == "rows":
            return RemoteRows(self.peer, int(entries[0]))
        if kind == "record":
            module, name, *fields = entries
            return _record(module, name)(*map(self.decode, fields))
        if kind == "dict":
            return {self.decode(key): self.decode(value) for key, value in entries}
        entries = map(self.decode, entries)
        return slice(*entries) if kind == "slice" else {"list": list, "tuple": tuple}[kind](entries)

    def _array(self, dtype, shape, place):
        dtype, data = np.dtype(dtype), self.bytes[place]
        if dtype.kind not in NUMBERS or prod(shape) * dtype.itemsize != len(data):
            raise ValueError("no array")
        array = np.frombuffer(bytearray(data), dtype).reshape(shape) if data else np.empty(
            shape, dtype)  # fmt: skip
        self.arrays.append(array)
        return array


def _fields(value):
    """The fields of a NamedTuple or dataclass of this package; None of anything else."""
    cls = type(value)
    if not RECORDS.fullmatch(cls.__module__) or cls is not _named(cls.__module__, cls.__qualname__):
        return None
    if dataclasses.is_dataclass(cls):
        return [getattr(value, field.name) for field in dataclasses.fields(cls) if field.init]
    return list(value) if issubclass(cls, tuple) and hasattr(cls, "_fields") else None


def _named(module, name):
    return getattr(sys.modules.get(module), name, None)


def _record(module, name):
    """A NamedTuple or a dataclass of this package. Raises ValueError for anything else."""
    if RECORDS.fullmatch(module):
        cls = getattr(import_module(module), name, None)
        if isinstance(cls, type) and (
            dataclasses.is_dataclass(cls) or (issubclass(cls, tuple) and hasattr(cls, "_fields"))
        ):
            return cls
    raise ValueError(f"{module}.{name} does not cross")
