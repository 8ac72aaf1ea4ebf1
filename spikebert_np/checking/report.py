"""What a gradient check found: one row an array, for a terminal and for Jupyter."""

import html
from typing import NamedTuple

import numpy as np

PASS, FAIL, VOID = "PASS", "FAIL", "VOID"


def relative_error(a, b):
    """max|a - b| / max(max|a|, max|b|) over a whole array; 0 where both arrays are all zero."""
    scale = max(np.abs(a).max(initial=0.0), np.abs(b).max(initial=0.0))
    return float(np.abs(a - b).max(initial=0.0) / scale) if scale else 0.0


class Row(NamedTuple):
    """The verdict on one array."""

    name: str
    shape: tuple
    error: float  # relative_error over the entries that count; nan where there is none
    bound: float
    status: str  # PASS, FAIL or VOID: two all-zero arrays agree, which proves nothing
    kinks: int = 0  # entries left out: their difference was taken across a kink
    index: tuple | None = None  # where ours and the expected value are furthest apart
    ours: float = np.nan
    expected: float = np.nan
    note: str = ""

    @property
    def verdict(self):
        """The status, with what was left out."""
        return f"{self.status} +{self.kinks} KINK" if self.kinks else self.status


def compare(name, ours, expected, bound, *, kinks=None, floor=0.0):
    """A Row: the array `ours` against `expected`, norm-wise over the whole array.

    kinks: mask of entries to leave out. floor: values up to it are zero to rounding. A wrong shape
    and a number that is not finite fail; two arrays of zeros are VOID.
    """
    ours, expected = np.asarray(ours), np.asarray(expected)
    if ours.shape != expected.shape:
        note = f"the shape is {ours.shape} and should be {expected.shape}"
        return Row(name, expected.shape, np.nan, bound, FAIL, note=note)
    if not np.isfinite(ours).all():
        index = tuple(int(i) for i in np.argwhere(~np.isfinite(ours))[0])
        values = float(ours[index]), float(expected[index])
        return Row(name, ours.shape, np.nan, bound, FAIL, 0, index, *values, "not finite")
    counts = np.ones(ours.shape, bool) if kinks is None else ~kinks
    left_out = int(counts.size - counts.sum())
    a, b = np.where(counts, ours, 0), np.where(counts, expected, 0)
    b = np.where(np.abs(b) <= floor, 0, b) if np.abs(b).max(initial=0) <= floor else b
    if not np.any(np.abs(a) > floor) and not np.any(b):
        note = "every entry stands at a kink" if left_out == ours.size else "all zero"
        return Row(name, ours.shape, np.nan, bound, VOID, left_out, note=note)
    error = relative_error(a, b)
    worst = np.unravel_index(np.abs(a - b).argmax(), a.shape)
    index = tuple(int(i) for i in worst)
    status = PASS if error < bound else FAIL
    values = float(ours[index]), float(expected[index])
    return Row(name, ours.shape, error, bound, status, left_out, index, *values)


class Evidence(NamedTuple):
    """The numbers that a check compared: all that a diagnosis may look at."""

    arrays: dict  # name -> the array that was moved
    upstream: np.ndarray  # dy
    ours: dict  # name -> gradient under test; "y" -> output of the forward pass under test
    expected: dict  # the same names -> what they should be
    constants: dict  # name -> number that a mistake may have put in or left out
    offsets: np.ndarray | None = None  # where each sentence starts
    fired: np.ndarray | None = None  # mask of the membranes at the threshold; of one LIF layer


class Suggestion(NamedTuple):
    """A mistake that would explain the numbers."""

    name: str
    sentence: str
    share: float  # of the wrong arrays, how many it explains


class GradReport(NamedTuple):
    """One row an array. Prints as a table; renders as one in Jupyter."""

    title: str
    rows: tuple
    notes: tuple = ()
    suggestions: tuple = ()  # Suggestion, the likeliest first
    evidence: Evidence | None = None
    faults: tuple = ()  # what no array's row can say: each is a FAIL

    @property
    def passed(self):
        """Whether there are arrays, and every one passed; a VOID one has not."""
        return bool(self.rows) and not self.faults and all(row.status == PASS for row in self.rows)

    def count(self, status):
        """How many rows (and, of FAIL, faults) have this status."""
        faults = len(self.faults) if status == FAIL else 0
        return sum(row.status == status for row in self.rows) + faults

    @property
    def worst(self):
        """The largest relative error; nan where nothing could be compared."""
        errors = [row.error for row in self.rows if np.isfinite(row.error)]
        return max(errors, default=np.nan)

    def cells(self):
        """The table's header and rows, as strings."""
        yield ("array", "shape", "error", "bound", "verdict", "furthest apart")
        for row in self.rows:
            where = row.note
            if row.index is not None and not where:
                place = f"{list(row.index)} " if row.index else ""
                where = f"{place}returned {row.ours:.6g}, right {row.expected:.6g}"
            error = "-" if np.isnan(row.error) else f"{row.error:.1e}"
            shape = "x".join(map(str, row.shape)) or "scalar"
            yield (row.name, shape, error, f"{row.bound:.0e}", row.verdict, where)

    def __str__(self):
        table = list(self.cells())
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = [self.title]
        for cells in table:
            line = "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
            lines.append("  " + line.rstrip())
        lines += [f"  {FAIL}: {fault}" for fault in self.faults]
        lines += [f"  note: {note}" for note in self.notes]
        for number, suggestion in enumerate(self.suggestions, 1):
            lines.append(f"  {number}. {suggestion.name}: {suggestion.sentence}")
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self):
        head, *body = self.cells()
        colours = {PASS: "#1a7f37", FAIL: "#cf222e", VOID: "#9a6700"}
        out = [f"<p><b>{html.escape(self.title)}</b></p><table><thead><tr>"]
        out += [f"<th>{html.escape(cell)}</th>" for cell in head]
        out.append("</tr></thead><tbody>")
        for row, cells in zip(self.rows, body, strict=True):
            out.append("<tr>")
            for cell, column in zip(cells, head, strict=True):
                style = f' style="color:{colours[row.status]}"' if column == "verdict" else ""
                out.append(f"<td{style}>{html.escape(cell)}</td>")
            out.append("</tr>")
        out.append("</tbody></table>")
        out += [f"<p>{FAIL}: {html.escape(fault)}</p>" for fault in self.faults]
        out += [f"<p>{html.escape(note)}</p>" for note in self.notes]
        if self.suggestions:
            items = (
                f"<li><b>{html.escape(s.name)}</b>: {html.escape(s.sentence)}</li>"
                for s in self.suggestions
            )
            out.append(f"<p>Likely mistakes:</p><ol>{''.join(items)}</ol>")
        return "".join(out)


class Answer(NamedTuple):
    """The verdict on one answer that was written down: a row of an AnswerReport."""

    name: str  # the question
    given: str
    status: str
    note: str = ""  # where or why it fails


class AnswerReport(GradReport):
    """What was found of values and words: one row a question."""

    __slots__ = ()

    def cells(self):
        """The table's header and rows, as strings."""
        yield ("question", "your answer", "verdict")
        for row in self.rows:
            yield (row.name, row.given, ": ".join(filter(None, (row.status, row.note))))
