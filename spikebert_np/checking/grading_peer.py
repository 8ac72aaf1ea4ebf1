"""What the grader and the process of a learner's code ask each other, over two pipes.

Either side calls functions of the other, one call at a time, calls within calls. A message is two
lengths, a head in JSON, and the bytes of its arrays. A function that writes to an array it was
given wrote to a copy: what it changed travels back with its reply, so that the checker sees it.
"""

import json
import re
import struct
import traceback

import numpy as np

from .grading_wire import Decoder, Encoder

LENGTHS = struct.Struct(">QQ")
MOST_HEAD, MOST_BYTES = 1 << 24, 1 << 28  # of a message, and of its arrays
KNOWN = (AttributeError, MemoryError, NotImplementedError, TypeError, ValueError)


class Ended(BaseException):
    """The other side is gone, or what it says is no message. No `except Exception` catches it."""


class Peer:
    """One side.

    targets: {name: function}, which the other side may call by name. run: calls what the other
    side calls by number, `run(function, args, settings)`.
    """

    def __init__(self, reader, writer, targets, run=lambda f, args, settings: f(*args, **settings)):
        self.reader, self.writer, self.targets, self.run = reader, writer, targets, run
        self.shared = []  # functions that were handed over, by number
        self.errors = []  # names of what the other side raised

    def call(self, target, *args, **settings):
        """What a function of the other side returns. Raises what it raised, by name, or Ended."""
        message = Encoder(self)
        self._send(message, message.head("call", target, message.encode([args, settings])))
        while True:
            kind, *content = self._receive()
            if kind == "call":
                self._serve(*content)
            elif kind == "error":
                raise self._error(*content)
            else:
                value, written = content
                for place, array in written.items():
                    if array.shape == message.arrays[place].shape:
                        np.copyto(message.arrays[place], array, casting="unsafe")
                return value

    def serve(self):
        """Answer calls until the other side is gone."""
        while True:
            kind, *content = self._receive()
            if kind == "call":
                self._serve(*content)

    def _serve(self, target, arguments, given):
        args, settings = arguments
        before = [array.copy() for array in given]
        try:
            if isinstance(target, str):
                value = self.targets[target](*args, **settings)
            else:
                value = self.run(self.shared[target], args, settings)
            message = Encoder(self)
            written = {
                place: array
                for place, (array, old) in enumerate(zip(given, before, strict=True))
                if array.tobytes() != old.tobytes()
            }
            head = message.head("reply", message.encode(value), message.encode(written))
        except Exception as error:  # whatever a learner's code raises
            message = Encoder(self)
            head = message.head("error", *told(error))
        self._send(message, head)

    def _send(self, message, head):
        size = sum(array.nbytes for array in message.arrays)
        try:
            self.writer.write(LENGTHS.pack(len(head), size) + head)
            for array in message.arrays:
                self.writer.write(array.tobytes())
            self.writer.flush()
        except (OSError, ValueError) as error:
            raise Ended(str(error)) from None

    def _receive(self):
        """The parts of a message: kind, and what is with it, decoded."""
        head_size, body_size = LENGTHS.unpack(self._read(LENGTHS.size))
        if head_size > MOST_HEAD or body_size > MOST_BYTES:
            raise Ended("a message of more bytes than any needs")
        head, body = self._read(head_size), self._read(body_size)
        try:
            sizes, (kind, *content) = json.loads(head)
            decoder = Decoder(self, sizes, body)
            if kind == "call":
                target, arguments = content
                return kind, target, decoder.decode(arguments), decoder.arrays
            if kind == "error":
                name, words = content
                return kind, str(name), str(words)
            value, written = content
            return kind, decoder.decode(value), dict(decoder.decode(written))
        except Exception as error:  # the other side may say anything
            raise Ended(f"no message: {error!r}") from None

    def _read(self, size):
        try:
            data = self.reader.read(size)
        except (OSError, ValueError) as error:
            raise Ended(str(error)) from None
        if len(data) < size:
            raise Ended("the process has ended")
        return data

    def _error(self, name, words):
        """What the other side raised, as an exception of the same name."""
        self.errors.append(name)
        known = {kind.__name__: kind for kind in KNOWN}
        name = name if name.isidentifier() else "Exception"
        return known.get(name, type(name, (Exception,), {}))(words[:2000])


def told(error):
    """(name, words) of an exception, with the line of the cell in which it came up."""
    kinds = (MemoryError, NotImplementedError, type(error))
    name = next(kind.__name__ for kind in kinds if isinstance(error, kind))
    words = str(error)
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__)
        if re.fullmatch(r"cell \d+", frame.filename)
    ]  # fmt: skip
    if frames and not isinstance(error, NotImplementedError):
        words += f" (line {frames[-1].lineno} of {frames[-1].filename}: {frames[-1].line})"
    return name, words
