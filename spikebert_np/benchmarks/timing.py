"""A against B, fairly: by turns, in one process, on the same work.

What else a machine does stretches a time. So all sides do a round of work one after the other, the
next round in reverse order, and what counts is the quotient within a round: its median over the
rounds, and its quartiles.
"""

from concurrent.futures import ThreadPoolExecutor
from time import perf_counter, process_time
from typing import NamedTuple

import numpy as np
from threadpoolctl import ThreadpoolController

from ..training.step import step_workers


class Ratio(NamedTuple):
    """How many times as long one side takes as another."""

    median: float
    low: float  # first quartile over the rounds
    high: float  # third quartile
    cores: float  # the median of the same in seconds of all cores, which other work stretches less


def clocks():
    """(seconds, seconds of all of this process' threads)."""
    return np.array([perf_counter(), process_time()])


def alternate(sides, rounds, done=lambda: None, clocks=clocks):
    """{side: (rounds, 2) times as of `clocks`} of sides = {name: function of a round's work}.

    rounds: the work of each round, at least one. Each side does the first once more beforehand,
    untimed: it compiles, and its buffers are warm. done: called after each side's work, untimed.
    clocks: what is read before and after a side's work, an array of which the differences count.
    """
    for side in sides.values():
        side(rounds[0])
        done()
    times = {name: [] for name in sides}
    for number, work in enumerate(rounds):
        for name in list(sides) if number % 2 else reversed(sides):
            started = clocks()
            sides[name](work)
            times[name].append(clocks() - started)
            done()
    return {name: np.array(values) for name, values in times.items()}


def ratio(over, under):
    """The Ratio of two sides' times, (rounds, 2) each."""
    wall, cores = (over / under).T  # (rounds,) each
    low, median, high = np.percentile(wall, [25, 50, 75])
    return Ratio(float(median), float(low), float(high), float(np.median(cores)))


def median_seconds(times):
    """Of (rounds, 2) times, the median of the wall clock's."""
    return float(np.median(times[:, 0]))


def by_workers(function, count=None):
    """function(work, run) as a function of a work alone.

    run: as that of `training.workers`, of count workers (None: those of a step). They wait for the
    next call, as they do within a training run; the other sides' matrix products have all threads.
    """
    pool = ThreadPoolExecutor(count or step_workers())
    products = ThreadpoolController()

    def call(work):
        with products.limit(limits=1, user_api="blas"):
            return function(work, pool.map)

    return call
