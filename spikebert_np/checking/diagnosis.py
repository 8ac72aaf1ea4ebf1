"""From the numbers of a failed check to the likely mistakes. The code under test is not looked at.

Three kinds of guesses, and each is compared with the wrong gradients number by number:

1. A formula of a layer with a term exchanged (`*_hypotheses.py`), alone or inside our reference of
   the block that uses the layer, everywhere or at one call.
2. Our reference put together wrongly: a layer left out, a path dropped, the wrong upstream
   (`reference.py`).
3. A pattern of the error itself (`patterns.py`): transposed, off by a factor, right at t = T-1.

A guess that gives every number of every array is put before one that explains a part.
"""

from dataclasses import replace

import numpy as np

from ..blocks.self_attention import attention_sentence_backward, self_attention_backward
from ..blocks.ssa import attention_backward, ssa_sentence_backward
from ..layers.lif import lif_backward, lif_step_backward
from .block_hypotheses import BLOCK_HYPOTHESES
from .layer_hypotheses import LAYER_HYPOTHESES
from .lif_hypotheses import LIF_HYPOTHESES
from .mistakes import explain
from .patterns import CLOSE, explain_by_pattern
from .planting import edited, planted
from .rate_hypotheses import RATE_HYPOTHESES
from .reference import Reference, wrong_assemblies, wrong_settings
from .report import FAIL, Suggestion, relative_error
from .textcnn_hypotheses import TEXTCNN_HYPOTHESES

# What these call once a step or once a sentence.
LOOPS = {
    lif_backward: lif_step_backward,
    attention_backward: ssa_sentence_backward,
    self_attention_backward: attention_sentence_backward,
}

HYPOTHESES = {}
for table in (
    LIF_HYPOTHESES, LAYER_HYPOTHESES, BLOCK_HYPOTHESES, TEXTCNN_HYPOTHESES, RATE_HYPOTHESES,
):  # fmt: skip
    for right, entries in table.items():
        HYPOTHESES[right] = [*HYPOTHESES.get(right, ()), *entries]
MOST = 5
# A pattern says how the numbers look; a formula that gives all of them says why.
EXACT, PATTERN, PART = 0, 1, 2


def diagnose(report, run):
    """The report with its suggestions, the likeliest first; itself where nothing failed."""
    wrong = [row.name for row in report.rows if row.status == FAIL]
    if not wrong or report.evidence is None:
        return report
    guesses = list(_guesses(report.evidence, run, wrong))
    best = {}
    for order, (name, kind, share) in enumerate(guesses):
        rank = (kind, -share, order)
        if name not in best or rank < best[name][0]:
            best[name] = rank, share
    ranked = sorted(best.items(), key=lambda entry: entry[1][0])[:MOST]
    suggestions = tuple(Suggestion(name, explain(name), share) for name, (_, share) in ranked)
    return report._replace(suggestions=suggestions)


def _guesses(evidence, run, wrong):
    """(mistake, kind, share of the wrong arrays that it explains)."""
    explained = False  # all that is wrong, by a formula: it says why, where a pattern sees a factor
    if "y" in wrong:
        for mistake, y in _forward_guesses(run):
            if _agree(evidence.ours["y"], y):
                yield mistake, EXACT, 1.0
        wrong = ["y"]
    else:
        reference, exact = Reference(run, evidence.upstream), False
        stages = (_formulas, wrong_settings, wrong_assemblies, _formulas_at_one_call)
        if _judge(evidence.ours, reference.gradients(), wrong)[1]:
            stages = ()  # the mistake is our reference's own
        for stage in stages:
            for mistake, predicted in stage(reference):
                if predicted is None:
                    continue
                kind, share = _judge(evidence.ours, predicted, wrong)
                exact |= kind == EXACT
                explained |= share == 1
                if share:
                    yield mistake, kind, share
            # The dearest stage is for what nothing simpler explains.
            if exact and stage is wrong_assemblies:
                break
    for mistake, share in explain_by_pattern(wrong, evidence):
        if not (explained and mistake.startswith("constant factor")):
            yield mistake, PATTERN, share


def _judge(ours, predicted, wrong):
    """EXACT where every array is as predicted; else PART, and the share of the wrong ones."""
    agreed = {name for name, value in predicted.items() if _agree(ours[name], value)}
    explained = sum(name in agreed for name in wrong) / len(wrong)
    return (EXACT if agreed >= ours.keys() - {"y"} else PART), explained


def _agree(ours, predicted):
    if np.shape(ours) != np.shape(predicted):
        return False
    return bool(np.isfinite(ours).all()) and relative_error(ours, predicted) < CLOSE


def _formulas(reference):
    """Each layer's formulas, wherever the layer is used."""
    used = {function for function, *_ in reference.calls()} | {reference.run.case.backward}
    used |= {inner for outer, inner in LOOPS.items() if outer in used}
    for right, entries in HYPOTHESES.items():
        if right not in used:
            continue
        for mistake, wrong in entries:
            own = wrong if reference.run.case.backward is right else None
            with planted(right, wrong):
                predicted = reference.gradients(own)
            yield mistake, predicted


def _formulas_at_one_call(reference):
    """A layer's formulas at one call of it alone."""
    for number, (function, *_) in enumerate(reference.calls()):
        target = lif_step_backward if function is lif_backward else function
        for mistake, wrong in HYPOTHESES.get(target, ()):

            def at_this_call(called, function, args, settings, number=number, wrong=wrong):
                if called != number:
                    return function(*args, **settings)
                if function is not lif_backward:
                    return wrong(*args, **settings)
                with planted(lif_step_backward, wrong):
                    return function(*args, **settings)

            with edited(at_this_call):
                predicted = reference.gradients()
            yield mistake, predicted


def _forward_guesses(run):
    """(mistake, y) of our forward pass under other settings than the case's."""
    forward, _ = run.case.pair()
    settings = run.problem.settings
    changes = []
    if "offsets" in settings:
        changes.append(("leaking across sentences", {"offsets": settings["offsets"][[0, -1]]}))
    if "heads" in settings:
        changes.append(("heads not split", {"heads": 1}))
    if "scale" in settings:
        changes.append(("scale missing", {"scale": 1.0}))
    if "neuron" in settings:
        neuron = settings["neuron"]
        changes.append(("reset left out", {"neuron": replace(neuron, reset="none")}))
        for reset in ("hard", "soft"):
            changes.append(("another reset", {"neuron": replace(neuron, reset=reset)}))
        decay = replace(neuron, decay_input=not neuron.decay_input)
        changes.append(("another charge", {"neuron": decay}))
        changes.append(("alpha left out", {"neuron": replace(neuron, alpha=1.0)}))
    for mistake, change in changes:
        yield mistake, run.call(forward, run.problem.args, **change)[0]
