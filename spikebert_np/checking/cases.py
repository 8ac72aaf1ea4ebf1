"""All cases by name, and the check of any of them: ours, or a function of your own.

    check("lif", backward=my_lif_backward)     # a GradReport, with the likely mistakes

A new backward pass needs a case in one of the files `*_cases.py`: a function of a few lines that
draws its arguments. A test fails until it has one.
"""

from difflib import get_close_matches

from . import bert_cases, block_cases, layer_cases, model_cases
from .case import Case, check_run, prepare
from .diagnosis import diagnose
from .draw import NEURON_FIELDS

CASES = {
    entry.name: entry
    for module in (layer_cases, block_cases, bert_cases, model_cases)
    for entry in vars(module).values()
    if isinstance(entry, Case)
}


def check(name, *, forward=None, backward=None, backend="numpy", seed=0, variant=None):
    """A GradReport of the case `name`, on one drawn problem in each of its settings.

    forward, backward: functions under test, which take and return what ours do; ours where None.
    variant: settings that the problems must have, such as {"reset": "soft"}; by default each
    variant of the case is checked. The report is that of the first variant which does not pass,
    named in its title; where all pass, that of the first.
    Raises ValueError for a name, a variant or a backend that does not exist.
    """
    if name not in CASES:
        near = get_close_matches(name, CASES) or list(CASES)
        raise ValueError(f"no case is called {name}; there are {', '.join(near)}")
    chosen = CASES[name]
    if backend not in chosen.backends:
        raise ValueError(f"{name} has no backend {backend}: {', '.join(chosen.backends)}")
    first = None
    for settings in _settings(chosen, variant or {}):
        run = prepare(chosen, seed, settings)
        report = check_run(run, forward=forward, backward=backward, backend=backend)
        if not report.passed:
            about = ", ".join(f"{key} {value}" for key, value in settings.items())
            report = report._replace(title=f"{report.title}, {about}" if about else report.title)
            return diagnose(report, run)
        first = first or report
    return first


def _settings(chosen, wanted):
    """The variants of a case with the settings that are wanted; ValueError where there is none."""
    known = {key for variant in chosen.variants for key in variant}
    neurons = known & set(NEURON_FIELDS)
    known |= set(NEURON_FIELDS) - {"spiking"} if neurons else set()
    if unknown := [key for key in wanted if key not in known]:
        raise ValueError(
            f"{chosen.name} has no setting {unknown[0]}: {', '.join(sorted(known)) or 'none'}"
        )
    if variants := chosen.variants_with(wanted):
        return variants
    offered = {
        key: sorted({str(variant.get(key)) for variant in chosen.variants}) for key in wanted
    }
    raise ValueError(f"{chosen.name} has no variant {wanted}: it has {offered}")
