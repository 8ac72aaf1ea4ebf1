"""Exercises of chapter 12: a neuron that learns its constants, another reset, another corpus.

`tau_backward` and `threshold_backward` stand here and not among the layers: SpikeBERT learns
neither constant. Both need no second walk through time. What `lif_backward` hands back holds
dH[t] = tau dX[t], and with it all that was carried.

Letters: T spike steps; any shape may follow T.
"""

from dataclasses import replace
from itertools import product

import numpy as np

from ..layers.lif import LIFNeuron, firing_floor, lif_backward, lif_forward, membrane_after_reset
from ..layers.surrogate import SURROGATES
from .chapter_04 import wrong_steps
from .exercise import Exercise, Wrong, backward, function, prediction
from .gradcheck import check_gradients, fires_enough
from .report import relative_error

# What the notebook takes from here: all that an answer may have while it is marked.
__all__ = ["carried", "membrane_before"]

# --- by differences -----------------------------------------------------------------------------


def twins(resets, seed):
    """(smooth twin, input): each reset attached and detached, and no constant that hides one."""
    rng = np.random.default_rng(seed)
    for reset, detach in product(resets, (False, True)):
        twin = LIFNeuron(
            tau=float(rng.choice([2.7, 3.4])), v_th=0.45, v_reset=-0.3, reset=reset,
            detach_reset=detach, alpha=1.4, spiking=False,
        )  # fmt: skip
        cache = None
        while cache is None or not fires_enough(cache):
            x = firing_floor(twin, 4) * rng.normal(1.6, 1.2, (4, 3, 2))
            cache = lif_forward(x, neuron=twin)[1]
        yield twin, x


def by_differences(number, reference, constant, *, resets, wrong, hides):
    """A backward pass (ds, cache) -> dx and the gradient of one of the neuron's constants.

    It is differenced on smooth twins, a detached reset held at its spikes. Where all its gradients
    are those of a wrong answer, they are taken for its mistake.
    """

    def examine(answer, seed):
        for twin, x in twins(resets, seed):
            frozen = lif_forward(x, neuron=twin)[1] if twin.detach_reset else None

            def forward(x, value, twin=twin, frozen=frozen):
                neuron = replace(twin, **{constant: float(value)})
                return lif_forward(x, neuron=neuron, frozen=frozen)

            def check(backward, x=x, twin=twin, forward=forward):
                args = x, getattr(twin, constant)
                return check_gradients(forward, backward, *args, names=("x", constant))

            report = check(answer)
            if not report.passed:
                found = tuple(
                    entry.suggestion for entry in wrong if _alike(report, check(entry.answer))
                )
                note = f"{twin.reset} reset, {'detached' if twin.detach_reset else 'attached'}"
                return report._replace(
                    suggestions=found or report.suggestions, notes=(*report.notes, note)
                )
        return report

    name = reference.__name__
    return Exercise(number, name, reference, tuple(wrong), examine, (name, *hides))


def _alike(report, other):
    """Whether two reports are on the same gradients."""
    ours, theirs = report.evidence.ours, other.evidence.ours
    return all(
        np.shape(ours[key]) == np.shape(theirs[key])
        and relative_error(ours[key], theirs[key]) < 1e-9
        for key in ours
    )


# --- 12.1 a learnable tau -----------------------------------------------------------------------


def membrane_before(cache):
    """V[t-1] of each step, of H's shape; rest before the first."""
    v = membrane_after_reset(cache)
    return np.concatenate([np.full_like(v[:1], cache.neuron.v_reset), v[:-1]])


def tau_backward(ds, cache):
    """dX (T, ...) and dL/dtau, a number, of a neuron with decay_input.

    H[t] = V[t-1] + (X[t] - (V[t-1] - v_reset)) / tau holds tau once at each step, and
    dH[t]/dtau = -(X[t] - (V[t-1] - v_reset)) / tau² = -(H[t] - V[t-1]) / tau.
    """
    dx = lif_backward(ds, cache)
    dh = dx * cache.neuron.tau
    return dx, -(dh * (cache.h - membrane_before(cache))).sum() / cache.neuron.tau


def wrong_tau(dtau):
    """tau_backward with another dtau: of dh, H, V[t-1], V[t], ds and the cache."""

    def wrong(ds, cache):
        dx = lif_backward(ds, cache)
        dh, before = dx * cache.neuron.tau, membrane_before(cache)
        return dx, dtau(dh, cache.h, before, membrane_after_reset(cache), ds, cache.neuron)

    return wrong


def shifted(h, rest):
    """h of the step before, from rest."""
    return np.concatenate([np.full_like(h[:1], rest), h[:-1]])


ex_12_1 = by_differences(
    "12.1",
    tau_backward,
    "tau",
    resets=("hard", "soft"),
    hides=("membrane_before",),
    wrong=[
        Wrong("sign flipped", wrong_tau(
            lambda dh, h, v, after, ds, n: (dh * (h - v)).sum() / n.tau)),
        Wrong("dX for dH", wrong_tau(
            lambda dh, h, v, after, ds, n: -(dh * (h - v)).sum() / n.tau**2),
              "tau stands in the charge, so that dH is multiplied: dX is divided by tau already"),
        Wrong("1/tau left out", wrong_tau(lambda dh, h, v, after, ds, n: -(dh * (h - v)).sum()),
              "d(1/tau)/dtau = -1/tau²; H - V[t-1] holds one of the two"),
        Wrong("upstream for dH", wrong_tau(
            lambda dh, h, v, after, ds, n: -(ds * (h - v)).sum() / n.tau),
              "tau reaches S through H: it is dH that is multiplied, with the slope and what was "
              "carried, not dS"),
        Wrong("V of the same step", wrong_tau(
            lambda dh, h, v, after, ds, n: -(dh * (h - after)).sum() / n.tau),
              "the charge of step t starts from V[t-1]"),
        Wrong("H of the step before", wrong_tau(
            lambda dh, h, v, after, ds, n: -(dh * (h - shifted(h, n.v_reset))).sum() / n.tau),
              "the charge starts from V[t-1], after the reset, not from H[t-1]"),
        Wrong("membrane before left out", wrong_tau(
            lambda dh, h, v, after, ds, n: -(dh * h).sum() / n.tau),
              "what tau divides is H[t] - V[t-1], and not all of H"),
        Wrong("starts at 0", wrong_tau(
            lambda dh, h, v, after, ds, n: -(dh * (h - shifted(after, 0))).sum() / n.tau),
              "before the first step the membrane rests: V[-1] = v_reset, which is not 0 here"),
        Wrong("last step only", wrong_tau(
            lambda dh, h, v, after, ds, n: -(dh * (h - v))[-1].sum() / n.tau)),
        Wrong("the leak alone", wrong_tau(
            lambda dh, h, v, after, ds, n: (dh * (v - n.v_reset)).sum() / n.tau**2),
              "tau divides the input as well: X[t] belongs to the derivative"),
        Wrong("averaged, not summed", wrong_tau(
            lambda dh, h, v, after, ds, n: -(dh * (h - v)).mean() / n.tau)),
    ],
)  # fmt: skip

# --- 12.2 predict: hard and soft reset ----------------------------------------------------------

STEPS = 16


def counter(reset):
    """A neuron that forgets nothing: it counts its input up to the threshold 1."""
    return LIFNeuron(tau=np.inf, decay_input=False, reset=reset)


def resets():
    """Spikes in 16 steps of a constant input, and what the membrane holds at the end."""

    def run(reset, x):
        s, cache = lif_forward(np.full((STEPS, 1), x), neuron=counter(reset))
        return int(s.sum()), float(membrane_after_reset(cache)[-1, 0])

    return {
        "hard, 0.375": run("hard", 0.375)[0],
        "soft, 0.375": run("soft", 0.375)[0],
        "hard, 0.75": run("hard", 0.75)[0],
        "soft, 0.75": run("soft", 0.75)[0],
        "soft, 1.5": run("soft", 1.5)[0],
        "soft, 1.5, left over": run("soft", 1.5)[1],
    }


ex_12_2 = prediction(
    "12.2",
    resets,
    name="predict_resets",
    wrong=[
        Wrong("a hard reset keeps the rest", lambda: {"hard, 0.75": 12},
              "0.75 + 0.75 = 1.5 fires, and a hard reset throws the 0.5 away"),
        Wrong("a soft reset empties", lambda: {"soft, 0.75": 8},
              "a soft reset takes 1 away: 0.5 of the 1.5 is left for the next step"),
        Wrong("rounded up", lambda: {"hard, 0.375": 6},
              "the third step reaches 1.125 and fires: five times in sixteen steps, with one over"),
        Wrong("rounded down", lambda: {"soft, 0.375": 5},
              "sixteen times 0.375 is 6, and the soft reset loses none of it"),
        Wrong("several spikes a step", lambda: {"soft, 1.5": 24},
              "a neuron sends at most one spike a step"),
        Wrong("nothing left over", lambda: {"soft, 1.5, left over": 0},
              "24 arrived and 16 were sent; the membrane holds what was not"),
        Wrong("the last step's rest", lambda: {"soft, 1.5, left over": 0.5},
              "0.5 is left over at each step, and none of it leaks: they add up"),
    ],
)  # fmt: skip

# --- 12.3 the soft reset, backward --------------------------------------------------------------

SOFT = {"reset": "soft", "decay_input": True}
ex_12_3 = backward("12.3", "lif_step", name="soft_step", variant=SOFT, wrong=[*wrong_steps(SOFT)])

# --- 12.4 a learnable threshold -----------------------------------------------------------------


def carried(dh, neuron):
    """dL/dV[t] of each step: what the next step hands back, and nothing after the last."""
    return np.concatenate([dh[1:], np.zeros_like(dh[:1])]) * (1 - 1 / neuron.tau)


def threshold_backward(ds, cache):
    """dX (T, ...) and dL/dv_th, a number, of a hard or soft reset with decay_input.

    S[t] = σ(H[t] - v_th) holds v_th with the opposite sign of H[t]: what reaches H through the
    spike reaches v_th with a minus. It is dH without the straight path of V: dH - dV (1 - S) hard,
    dH - dV soft. A soft reset, V = H - S v_th, holds v_th once more, and gives -dV S. The sum of
    both is the same for both resets: dV (1 - S) - dH.
    """
    dx = lif_backward(ds, cache)
    dh = dx * cache.neuron.tau
    return dx, (carried(dh, cache.neuron) * (1 - cache.s) - dh).sum()


def wrong_threshold(dv_th):
    """threshold_backward with another dv_th: of dh, dv, s, ds and the cache."""

    def wrong(ds, cache):
        dx = lif_backward(ds, cache)
        dh = dx * cache.neuron.tau
        return dx, dv_th(dh, carried(dh, cache.neuron), cache.s, ds, cache)

    return wrong


def right(dh, dv, s):
    return dv * (1 - s) - dh


def own_spikes(ds, cache):
    """-dS σ': the path through the spikes that leave the neuron."""
    neuron = cache.neuron
    slope = SURROGATES[neuron.surrogate].derivative(cache.h - neuron.v_th, neuron.alpha)
    return -(ds * slope).sum()


def spikes_path_soft(dh, dv, s, ds, cache):
    """The path through all spikes, without the soft reset's own v_th."""
    return (dv * (1 - s if cache.neuron.reset == "hard" else 1) - dh).sum()


ex_12_4 = by_differences(
    "12.4",
    threshold_backward,
    "v_th",
    resets=("soft", "hard"),
    hides=("carried",),
    wrong=[
        Wrong("sign flipped", wrong_threshold(lambda dh, dv, s, ds, c: -right(dh, dv, s).sum())),
        Wrong("the reset's own threshold", wrong_threshold(spikes_path_soft),
              "a soft reset is H - S v_th: v_th stands there once more, and gives -dV S"),
        Wrong("straight path counted", wrong_threshold(lambda dh, dv, s, ds, c: -dh.sum()),
              "dH holds V's straight path too, which does not pass the threshold: take it off"),
        Wrong("dV shifted the wrong way", wrong_threshold(lambda dh, dv, s, ds, c: right(
            dh, shifted(dh, 0) * (1 - 1 / c.neuron.tau), s).sum()),
              "V[t] is read by step t+1: dV[t] = dH[t+1] (1 - 1/tau), so dh[1:], then a row of 0"),
        Wrong("own spikes only", wrong_threshold(lambda dh, dv, s, ds, c: own_spikes(ds, c)),
              "a soft reset holds v_th once more, and an attached one reads S: both add to dS"),
        Wrong("surrogate left out", wrong_threshold(lambda dh, dv, s, ds, c: -ds.sum())),
        Wrong("dX for dH", wrong_threshold(
            lambda dh, dv, s, ds, c: right(dh, dv, s).sum() / c.neuron.tau),
              "the threshold stands after the charge: dH = tau dX"),
        Wrong("leak of 1", wrong_threshold(
            lambda dh, dv, s, ds, c: right(dh, dv / (1 - 1 / c.neuron.tau), s).sum())),
        Wrong("last step only", wrong_threshold(
            lambda dh, dv, s, ds, c: right(dh, dv, s)[-1].sum())),
        Wrong("averaged, not summed", wrong_threshold(
            lambda dh, dv, s, ds, c: right(dh, dv, s).mean())),
    ],
)  # fmt: skip

# --- 12.5 texts that stand in two places --------------------------------------------------------


def same_form(text):
    """What texts that count as one have in common: case and white space set aside."""
    return " ".join(text.lower().split())


def overlaps(train, dev):
    """For each text of dev, True or False: it stands in train; it repeats an earlier one of dev."""
    known = {same_form(text) for text in train}
    forms = [same_form(text) for text in dev]
    return (
        np.array([form in known for form in forms]),
        np.array([form in forms[:i] for i, form in enumerate(forms)]),
    )


def draw_texts(rng):
    """Texts of which some differ in case, space, order of words or length alone; shuffled."""
    train = ["the soup was cold", "my  waiter is kind", "Their menu is dull", "our cake was fresh",
             "so warm a room", "the bread is stale and old", "my salad was crisp"]  # fmt: skip
    dev = ["the soup was cold", "My waiter is kind", "their menu  is dull", "fresh was our cake",
           "the bread is stale", "a loud table", "A loud table", "a  loud table",
           "a new cup", "a new cup"]  # fmt: skip
    return [str(text) for text in rng.permutation(train)], [str(t) for t in rng.permutation(dev)]


def wrong_overlaps(key=same_form, known=None, repeats=None):
    """overlaps with another key, another rule for train, or for repeats."""
    known = known or (lambda text, train: text in train)
    repeats = repeats or (lambda i, texts, train: texts[i] in texts[:i])

    def find(train, dev):
        train, dev = [key(text) for text in train], [key(text) for text in dev]
        return (
            np.array([known(text, train) for text in dev]),
            np.array([repeats(i, dev, train) for i in range(len(dev))]),
        )

    return find


ex_12_5 = function(
    "12.5",
    overlaps,
    draw_texts,
    outputs=("in train", "repeated"),
    wrong=[
        Wrong("upper case counted", wrong_overlaps(key=lambda text: " ".join(text.split())),
              "two texts that differ in upper case alone are one text: lower()"),
        Wrong("white space counted", wrong_overlaps(key=str.lower),
              "two texts that differ in white space alone are one: ' '.join(text.split())"),
        Wrong("train as it is written", lambda train, dev: (
            np.array([same_form(text) in train for text in dev]), overlaps(train, dev)[1]),
              "bring the texts of train into the one form as well"),
        Wrong("itself counted", wrong_overlaps(repeats=lambda i, texts, train: True),
              "look among the earlier ones alone, keys[:i]: each text is among keys"),
        Wrong("order of the words forgotten", wrong_overlaps(
            key=lambda text: " ".join(sorted(text.lower().split()))),
              "the same words in another order are another text"),
        Wrong("part of a text", wrong_overlaps(
            known=lambda text, train: any(text in other for other in train)),
              "a text stands in train if it equals one there, not if it is a part of one"),
        Wrong("the first one counted too", wrong_overlaps(
            repeats=lambda i, texts, train: texts.count(texts[i]) > 1),
              "the first of several equal texts repeats no earlier one"),
        Wrong("the last one kept", wrong_overlaps(
            repeats=lambda i, texts, train: texts[i] in texts[i + 1 :]),
              "a text repeats an earlier one: look before it, not behind"),
        Wrong("what stands in train counted twice", wrong_overlaps(
            repeats=lambda i, texts, train: texts[i] in texts[:i] or texts[i] in train),
              "the second answer looks at dev alone"),
        Wrong("answers exchanged", lambda train, dev: overlaps(train, dev)[::-1],
              "first what stands in train, then what repeats"),
    ],
)  # fmt: skip
