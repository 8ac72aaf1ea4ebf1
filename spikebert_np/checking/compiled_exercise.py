"""A kind of exercise: its answer is compiled too, and then held beside the package's NumPy."""

import numpy as np

from .report import compare


def in_dtype(args, dtype):
    """The arguments, all that is real in one dtype."""

    def cast(value):
        if isinstance(value, np.ndarray):
            return value.astype(dtype) if value.dtype.kind == "f" else value
        return dtype(value) if isinstance(value, float) else value

    return tuple(map(cast, args))


def compiled(exercise, draw, twin, outputs, *, dtype=np.float64, bound=1e-12, mistake=None):
    """The exercise, whose answer is also compiled, and held beside what NumPy gives.

    draw, outputs: those of the exercise. twin: of the arguments, the package's own NumPy.
    mistake: the Suggestion where this alone fails. An answer in another process is compiled there.
    """

    def examine(answer, seed):
        report = exercise.examine(answer, seed)
        if not report.passed:
            return report
        from numba import njit
        from numba.core.errors import NumbaError

        args = in_dtype(draw(np.random.default_rng(seed)), dtype)
        expected = twin(*args)
        plain = getattr(answer, "py_func", answer)
        there = getattr(answer, "compiled", None)
        kernel = there or njit(error_model="numpy")(plain)
        try:
            ours = kernel(*args)
        except NumbaError as error:
            told = [line for line in str(error).splitlines() if line and "pipeline" not in line]
            return report._replace(faults=(f"Numba cannot compile it: {' '.join(told[:2])}",))
        named = [f"{name}, compiled, {dtype.__name__}" for name in outputs]
        rows = tuple(compare(*triple, bound) for triple in zip(named, ours, expected, strict=True))
        report = report._replace(rows=report.rows + rows)
        return report if report.passed or not mistake else report._replace(suggestions=(mistake,))

    return exercise._replace(examine=examine)
