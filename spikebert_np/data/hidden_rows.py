"""Hidden states on disk: rows of numbers cut into shards, as float16 or as int8 with a scale a row.

float16 keeps 11 bits: an error of at most 1/2048 of a number, far below the distance between a
student and its teacher, at half the bytes. int8 halves them again: x is kept as the integer nearest
to x / s, with s = max|row| / 127, so the error is at most s / 2.

Letters: M rows (tokens), D width.
"""

import numpy as np

from ..errors import InputError

DTYPES = ("float16", "int8")


def encode_rows(rows, dtype):
    """(rows as `dtype`, scale): scale is (M,) float32 for int8 and None for float16.

    rows: (M, D) floats. Raises InputError where a number is not finite, or too large for float16.
    """
    if not np.isfinite(rows).all():
        raise InputError("holds numbers that are not finite; choose another teacher or layer")
    if dtype == "float16":
        with np.errstate(over="ignore"):
            narrow = rows.astype(np.float16)
        if not np.isfinite(narrow).all():
            raise InputError("holds numbers above 65,504, the largest float16; choose int8")
        return narrow, None
    scale = (np.abs(rows).max(axis=1) / 127).astype(np.float32)  # (M,)
    divisor = np.where(scale > 0, scale, 1)[:, None]  # a row of zeros stays zeros
    return np.rint(rows / divisor).astype(np.int8), scale


def decode_rows(rows, scale):
    """(M, D) floats of what encode_rows gave: float16 as it is, int8 as float32."""
    return rows if scale is None else rows * scale[:, None]


class HiddenRows:
    """Shards that read like one array (M, D): by slice, which gives another view of the same files,
    and by an array of row numbers, which reads those rows into memory."""

    def __init__(self, shards, scales, first=0, last=None):
        """shards: arrays or memory maps (m, D); scales: one (m,) each, or None for float16."""
        self.shards, self.scales = shards, scales
        self.starts = np.concatenate([[0], np.cumsum([len(shard) for shard in shards])]).tolist()
        self.first, self.last = first, self.starts[-1] if last is None else last
        # A shard may itself be HiddenRows, decoded to float32.
        kinds = [np.float16, *(rows.dtype for rows in shards)] if scales is None else [np.float32]
        self.dtype = np.result_type(*kinds)

    def __len__(self):
        return self.last - self.first

    @property
    def shape(self):
        return len(self), self.shards[0].shape[1]

    def __getitem__(self, rows):
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            if step != 1:
                raise IndexError("HiddenRows have no steps")
            stop = max(start, stop)
            return HiddenRows(self.shards, self.scales, self.first + start, self.first + stop)
        rows = np.asarray(rows)
        if ((rows < 0) | (rows >= len(self))).any():
            raise IndexError(f"rows must be from 0 to {len(self) - 1}")
        rows = rows + self.first
        out = np.empty((len(rows), self.shape[1]), self.dtype)
        shard_of = np.searchsorted(self.starts, rows, side="right") - 1
        for shard in np.unique(shard_of):
            chosen = shard_of == shard
            inside = rows[chosen] - self.starts[shard]
            scale = None if self.scales is None else self.scales[shard][inside]
            out[chosen] = decode_rows(self.shards[shard][inside], scale)
        return out

    def __array__(self, dtype=None, copy=None):
        """All rows, in memory: for small caches."""
        return np.asarray(self[np.arange(len(self))], dtype)


def shard_names(layer, number, count, dtype):
    """The file names of one shard of a layer: its rows, and for int8 its scales."""
    stem = f"hidden_{layer}" if count == 1 else f"hidden_{layer}.{number:04d}"
    return [f"{stem}.npy"] if dtype == "float16" else [f"{stem}.npy", f"{stem}.scale.npy"]
