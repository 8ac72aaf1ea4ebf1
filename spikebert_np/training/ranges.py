"""What a number of any training settings may be, in one place."""

import math


def check_ranges(settings, *, from_zero="", above_zero="", at_most_one="", below_one=""):
    """Raises ValueError for a field that is not finite or outside its range.

    settings: any object; the ranges: field names with spaces between them. A field that is in
    `at_most_one` or `below_one` stands in one of the first two as well.
    """
    for name in from_zero.split():
        if not 0 <= (value := getattr(settings, name)) < math.inf:
            raise ValueError(f"{name} = {value}: it must be finite, 0 or more")
    for name in above_zero.split():
        if not 0 < (value := getattr(settings, name)) < math.inf:
            raise ValueError(f"{name} = {value}: it must be finite and above 0")
    for name in at_most_one.split():
        if (value := getattr(settings, name)) > 1:
            raise ValueError(f"{name} = {value}: it is a share, 1 at most")
    for name in below_one.split():
        if (value := getattr(settings, name)) >= 1:
            raise ValueError(f"{name} = {value}: it must be below 1")
