"""The learning rate over a run: linear warm-up, then half a cosine down to zero."""

import math


def warmup_cosine(step, total_steps, *, peak, warmup=0.1):
    """The rate of step 0, 1, ... total_steps - 1.

    Rises linearly to `peak` over the first `warmup` share of the steps, then falls as
    peak (1 + cos(pi progress)) / 2 (Loshchilov and Hutter 2017, arXiv 1608.03983).
    """
    warmup_steps = max(1, round(warmup * total_steps))
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return peak * (1 + math.cos(math.pi * progress)) / 2
