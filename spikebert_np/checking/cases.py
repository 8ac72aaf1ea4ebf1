"""All cases by name, and the check of any of them: ours, or a function of your own.

    check("lif", backward=my_lif_backward)     # a GradReport, with the likely mistakes

A new backward pass needs a case in one of the files `*_cases.py`: a function of a few lines that
draws its arguments. A test fails until it has one.
"""

from . import bert_cases, block_cases, layer_cases, model_cases
from .case import Case, check_run, prepare
from .diagnosis import diagnose

CASES = {
    entry.name: entry
    for module in (layer_cases, block_cases, bert_cases, model_cases)
    for entry in vars(module).values()
    if isinstance(entry, Case)
}


def check(name, *, forward=None, backward=None, backend="numpy", seed=0, variant=None):
    """A GradReport of the case `name` on one drawn problem.

    forward, backward: functions under test, which take and return what ours do; ours where None.
    variant: settings that the problem must have, such as {"reset": "soft"}: they are taken over the
    case's first variant that does not contradict them. Raises KeyError for an unknown name.
    """
    chosen = CASES[name]
    run = prepare(chosen, seed, chosen.variants_with(variant or {})[0])
    return diagnose(check_run(run, forward=forward, backward=backward, backend=backend), run)
