"""Exercises of chapter 05: from ids to spikes, and neurons that never fire.

Letters: T spike steps, N packed tokens, V vocabulary, D width, R distinct ids of the batch.
"""

from dataclasses import replace
from functools import cache as remembered
from statistics import NormalDist

import numpy as np

from ..blocks.spike_encoding import spike_encoding_backward, spike_encoding_forward
from ..blocks.spike_input import spike_input_forward
from ..layers.embedding import RowGradient, embedding_backward
from ..layers.layernorm import layernorm_backward, layernorm_forward
from ..layers.lif import LIFNeuron, firing_floor
from ..training.optim import AdamWState, adamw_init, adamw_step
from .bug_hunt import bugs, find_the_bugs
from .exercise import Wrong, backward, function, prediction

# What the notebook takes from here: all that an answer may have while it is marked.
__all__ = ["BUGS", "RATE", "RIDDLE", "WORDS", "firing_through_training"]

# --- 5.1 the look-up's backward pass ------------------------------------------------------------


def row_of_the_first_token(dy, cache):
    distinct, first = np.unique(cache.ids, return_index=True)
    return RowGradient(distinct, dy[first])


def rows_times_their_number(dy, cache):
    distinct, rows = embedding_backward(dy, cache)
    _, counts = np.unique(cache.ids, return_counts=True)
    return RowGradient(distinct, rows * counts[:, None])


ex_05_1 = backward("5.1", "embedding", wrong=[
    Wrong("rows overwritten", row_of_the_first_token),
    Wrong("rows overwritten", lambda dy, cache: RowGradient(cache.ids, dy)),
    Wrong("rows counted twice", rows_times_their_number),
    Wrong("sign flipped", lambda dy, cache: embedding_backward(-dy, cache)),
])  # fmt: skip


def by_rows(examine):
    """The same for an answer that must not be dense."""

    def examine_rows(answer, *settings):
        def backward(dy, cache):
            gradient = answer(dy, cache)
            if isinstance(gradient, np.ndarray):
                raise TypeError("a dense array may be right too, but a RowGradient is asked for")
            return gradient

        return examine(backward, *settings)

    return examine_rows


ex_05_1 = ex_05_1._replace(examine=by_rows(ex_05_1.examine))

# --- 5.2 Adam on the batch's rows ---------------------------------------------------------------

RATE = 0.01


def adam_rows(weight, mean, square, grad, step):
    """New weight, mean and square (V, D) after Adam's step number `step`."""
    params = {"embedding.weight": weight.copy()}
    state = AdamWState({"embedding.weight": mean.copy()}, {"embedding.weight": square.copy()},
                       step - 1)  # fmt: skip
    adamw_step(params, {"embedding.weight": grad}, state, learning_rate=RATE)
    return params["embedding.weight"], *(means["embedding.weight"] for means in state[:2])


def draw_rows(rng):
    """Weight, mean and square of V = 7 words, the gradient of three of them, and the step."""
    weight, mean = rng.standard_normal((2, 7, 3))
    ids = np.sort(rng.choice(7, 3, replace=False))
    grad = RowGradient(ids, rng.standard_normal((3, 3)))
    return weight, mean, rng.uniform(0.5, 2, (7, 3)), grad, int(rng.integers(2, 9))


def right_move(m, v, g, t):
    return m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)


def wrong_rows(mean_by=None, square_by=None, move=None, rows_of=lambda grad: grad.ids):
    """adam_rows with one of its three lines, or the rows that it moves, exchanged."""
    mean_by = mean_by or (lambda m, g: 0.9 * m + 0.1 * g)
    square_by = square_by or (lambda v, g: 0.999 * v + 0.001 * g**2)
    move = move or right_move

    def adam(weight, mean, square, grad, step):
        weight, mean, square = weight.copy(), mean.copy(), square.copy()
        rows, g = rows_of(grad), grad.rows
        if rows is ...:
            g = grad.dense(len(weight))
        mean[rows] = mean_by(mean[rows], g)
        square[rows] = square_by(square[rows], g)
        weight[rows] -= RATE * move(mean[rows], square[rows], g, step)
        return weight, mean, square

    return adam


def corrected_kept(weight, mean, square, grad, step):
    """The corrections by 1 - 0.9^step and 1 - 0.999^step written into what is kept."""
    weight, mean, square = adam_rows(weight, mean, square, grad, step)
    mean[grad.ids] /= 1 - 0.9**step
    square[grad.ids] /= 1 - 0.999**step
    return weight, mean, square


def all_means_decayed(weight, mean, square, grad, step):
    """The batch's rows move, and the means of every row decay."""
    moved, new_mean, new_square = adam_rows(weight, mean, square, grad, step)
    other = np.ones(len(weight), bool)
    other[grad.ids] = False
    new_mean[other] *= 0.9
    new_square[other] *= 0.999
    return moved, new_mean, new_square


ex_05_2 = function(
    "5.2",
    adam_rows,
    draw_rows,
    outputs=("weight", "mean", "square"),
    hides=("adamw_step",),
    wrong=[
        Wrong("every row moved", wrong_rows(rows_of=lambda grad: ...),
              "rows that the batch did not read stay as they are, weight and means"),
        Wrong("every row's means decayed", all_means_decayed,
              "mean and square of a row that the batch did not read stay as they are, too"),
        Wrong("the first R rows moved", wrong_rows(rows_of=lambda grad: np.arange(len(grad.ids))),
              "grad.rows[r] belongs to the word grad.ids[r], not to row r"),
        Wrong("means not corrected", wrong_rows(move=lambda m, v, g, t: m / (np.sqrt(v) + 1e-8)),
              "both means start at zero, and are divided by 1 - 0.9^step and 1 - 0.999^step"),
        Wrong("corrected means kept", corrected_kept,
              "the corrected means are for this step's move; what is kept are m and v themselves"),
        Wrong("gradient for its square", wrong_rows(
            square_by=lambda v, g: 0.999 * v + 0.001 * np.abs(g)),
              "v is the running mean of g², not of |g|"),
        Wrong("gradient for its square", wrong_rows(square_by=lambda v, g: 0.999 * v + 0.001 * g),
              "v is the running mean of g², not of g"),
        Wrong("shares exchanged", wrong_rows(
            lambda m, g: 0.1 * m + 0.9 * g, lambda v, g: 0.001 * v + 0.999 * g**2),
              "a mean keeps most of what it was, 0.9 or 0.999; the rest is the new gradient's"),
        Wrong("shares exchanged", wrong_rows(lambda m, g: 0.1 * m + 0.9 * g),
              "the mean keeps 0.9 of what it was; 0.1 is the new gradient's"),
        Wrong("gradient for its mean", wrong_rows(move=lambda m, v, g, t: right_move(
            g * (1 - 0.9**t), v, g, t)),
              "the weight moves along the corrected mean of the gradients, not along this one"),
        *(
            Wrong("another step's correction", wrong_rows(move=lambda m, v, g, t, off=off:
                                                          right_move(m, v, g, t + off)),
                  "step counts from 1, as it is given: 1 - 0.9^step")
            for off in (-1, 1)
        ),
        Wrong("means forgotten", wrong_rows(mean_by=lambda m, g: g),
              "the mean remembers: 0.9 of what it was, and 0.1 of the new gradient"),
        Wrong("root left out", wrong_rows(
            move=lambda m, v, g, t: m / (1 - 0.9**t) / (v / (1 - 0.999**t) + 1e-8)),
              "the step is divided by the square root of the mean square"),
        Wrong("uphill", wrong_rows(
            move=lambda m, v, g, t: -right_move(m, v, g, t)),
              "a step goes against the gradient: it is subtracted"),
    ],
)  # fmt: skip

# --- 5.3 predict: two encoders ------------------------------------------------------------------

PUBLISHED = LIFNeuron()  # tau = 2, v_th = 1, hard reset to 0


def spike_train(current, encoder, neuron=PUBLISHED, steps=4):
    """The spikes of one neuron, (T,), from a current that is the same at each step."""
    s, _ = spike_encoding_forward(
        np.full((1, 1), current), steps=steps, encoder=encoder, neuron=neuron
    )
    return s.ravel()


def two_encoders(**settings):
    """Four steps of spikes of some currents."""
    lif = {f"LIF, {x}": spike_train(x, "lif", **settings) for x in (0.9, 1.1, 1.5, 2.0)}
    return lif | {f"sign, {x}": spike_train(x, "heaviside") for x in (-0.2, 0.9)}


UNDIVIDED = replace(PUBLISHED, decay_input=False)

ex_05_3 = prediction(
    "5.3",
    two_encoders,
    name="spikes_by_hand",
    wrong=[
        Wrong("a tie does not fire", lambda: {"LIF, 2.0": [0, 1, 0, 1]},
              "at 2 the first step reaches H = 1 exactly, and a tie fires"),
        Wrong("reset left out", lambda: {"LIF, 1.5": [0, 1, 1, 1]}),
        Wrong("another charge", lambda: two_encoders(neuron=UNDIVIDED)),
        Wrong("all or nothing", lambda: {f"LIF, {x}": np.full(4, float(x >= 1))
                                         for x in (1.1, 1.5, 2.0)},
              "a current above the threshold does not fire at once: the membrane takes half of "
              "what is missing at each step"),
        Wrong("the floor is the threshold", lambda: {"LIF, 1.1": [0, 0, 0, 0]},
              "the membrane comes to 1.1 (1 - 1/16) by the fourth step: is that below 1?"),
        Wrong("sign met with the threshold", lambda: {"sign, 0.9": [0, 0, 0, 0]},
              "the published encoder asks whether the embedding is at least 0, not 1"),
        Wrong("minus for no spike", lambda: {"sign, -0.2": [-1, -1, -1, -1]},
              "a spike is 0 or 1: what is called the sign here is Θ, 0 below 0"),
        Wrong("sign at the first step only", lambda: {"sign, 0.9": [1, 0, 0, 0]},
              "the same spikes are sent at each step: nothing there remembers or resets"),
        Wrong("every current fires in the end", lambda: {"LIF, 0.9": [0, 0, 0, 1]},
              "with a current of 0.9 the membrane nears 0.9, and never gets to 1"),
    ],
)  # fmt: skip

# --- 5.4 find the bug ---------------------------------------------------------------------------

BUGS = bugs(
    ("spike_encoding", "encoding_of_the_last_step"),
    ("windows", "windows_gathered_again"),
    ("spike_encoding", "encoding_straight_through"),
    ("positions", "positions_overwritten"),
)
ex_05_4 = find_the_bugs("5.4", BUGS)

# --- 5.5 read a plot: the spikes of a sentence --------------------------------------------------

WORDS = ["the", "plot", "is", "dull", "but", "the", "music", "is", "not"]
WIDTH = 12


def sentence_spikes(encoder, width):
    """(T, n, D): WORDS by random embeddings; width: the words that are read at once."""
    rng = np.random.default_rng(52)
    D_emb = 8
    words = sorted(set(WORDS))
    params = {
        "weight": rng.standard_normal((len(words), D_emb)),
        "projection.weight": rng.standard_normal((3 * D_emb, WIDTH)),
        "projection.bias": np.zeros(WIDTH),
        "norm.gain": np.full(WIDTH, 0.8),
        "norm.bias": rng.normal(-0.1, 0.9, WIDTH),
    }
    if width == 1:  # the middle of the three
        params["projection.weight"] = params["projection.weight"][D_emb : 2 * D_emb]
    ids = np.array([words.index(word) for word in WORDS])
    s, _ = spike_input_forward(
        ids, np.array([0, len(ids)]), params, steps=4, encoder=encoder, neuron=PUBLISHED
    )
    return s


RIDDLE = {
    "A": sentence_spikes("lif", 3),
    "B": sentence_spikes("lif", 1),
    "C": sentence_spikes("heaviside", 1),
}


def told_by_the_plot():
    """What the figure of RIDDLE tells."""
    rates = RIDDLE["B"].mean(axis=(0, 1))
    return {
        "sign": "C",
        "three words": "A",
        "silent in B": int((rates == 0).sum()),
        "busiest in B": int(rates.argmax()),
        "first spike of 'dull' in B": int(RIDDLE["B"][:, WORDS.index("dull")].any(axis=1).argmax()),
    }


def rarely(s):
    """How many neurons fire for at most one word."""
    return int((s.any(axis=0).sum(axis=0) <= 1).sum())


ex_05_5 = prediction(
    "5.5",
    told_by_the_plot,
    name="read_plot",
    choices=tuple(RIDDLE),
    wrong=[
        Wrong("sparse taken for the sign", lambda: {"sign": "B"},
              "the sign sends the same at all four steps: a word's four cells or none"),
        Wrong("three words taken for the sign", lambda: {"sign": "A"},
              "the sign sends the same at all four steps: a word's four cells or none"),
        Wrong("one word at a time", lambda: {"three words": "B"},
              "'the' stands twice: in B both columns are the same, whatever stands beside them"),
        Wrong("the sign reads one word", lambda: {"three words": "C"},
              "'the' stands twice: in C both columns are the same, whatever stands beside them"),
        Wrong("silent counted in C", lambda: {"silent in B": int(
            (RIDDLE["C"].mean(axis=(0, 1)) == 0).sum())},
              "this is panel C's number: count the rows of B in which nothing is drawn"),
        Wrong("silent counted in A", lambda: {"silent in B": int(
            (RIDDLE["A"].mean(axis=(0, 1)) == 0).sum())},
              "this is panel A's number: count the rows of B in which nothing is drawn"),
        Wrong("rare taken for silent", lambda: {"silent in B": rarely(RIDDLE["B"])},
              "a neuron that fires for one word is not silent"),
        Wrong("rows counted from below", lambda: {
            "busiest in B": WIDTH - 1 - told_by_the_plot()["busiest in B"]},
              "the rows are numbered at the axis, 0 at the top"),
        Wrong("steps counted from 1", lambda: {"first spike of 'dull' in B": 2},
              "a word's band is four steps wide, and they count from 0"),
    ],
)  # fmt: skip

# --- 5.6 derive: wake a neuron ------------------------------------------------------------------


def upper_point(share):
    """The z above which this share of a standard normal lies."""
    return NormalDist().inv_cdf(1 - share)


def wake(neuron, steps, gain, bias, share):
    """The bias, the gain and the threshold of which each alone makes a neuron fire for this share.

    Its current is gain x_hat + bias, with x_hat standard normal over the words.
    """
    z = upper_point(share)
    floor = firing_floor(neuron, steps)
    charged = 1 - (1 - 1 / neuron.tau) ** steps
    v_th = neuron.v_reset + (bias + gain * z) * charged
    return floor - gain * z, (floor - bias) / z, v_th


def draw_wake(rng):
    neuron = LIFNeuron(
        tau=float(rng.uniform(3, 8)), v_th=float(rng.uniform(0.7, 1.6)), v_reset=-0.3
    )
    gain, bias = float(rng.uniform(0.5, 0.9)), float(rng.uniform(-0.2, -0.05))
    return neuron, int(rng.integers(3, 7)), gain, bias, float(rng.uniform(0.05, 0.25))


def wrong_wake(edit=None, z_of=upper_point, floor_of=firing_floor):
    """wake by another z or another floor, or its three results edited."""

    def wrong(neuron, steps, gain, bias, share):
        z, floor = z_of(share), floor_of(neuron, steps)
        charged = (neuron.v_th - neuron.v_reset) / floor
        v_th = neuron.v_reset + (bias + gain * z) * charged
        given = floor - gain * z, (floor - bias) / z, v_th
        return edit(*given, neuron, steps, gain, bias, z, floor) if edit else given

    return wrong


ex_05_6 = function(
    "5.6",
    wake,
    draw_wake,
    outputs=("bias", "gain", "v_th"),
    wrong=[
        Wrong("share for its complement", wrong_wake(
            z_of=lambda share: NormalDist().inv_cdf(share)),
              "the share that fires lies above z: Φ(z) = 1 - share"),
        Wrong("threshold for floor", wrong_wake(
            floor_of=lambda neuron, steps: neuron.v_th - neuron.v_reset),
              "in T steps a current must reach the floor, which lies above the threshold"),
        Wrong("one step only", wrong_wake(floor_of=lambda neuron, steps: firing_floor(neuron, 1)),
              "the membrane has `steps` steps to charge up, not one"),
        Wrong("half of the words", wrong_wake(z_of=lambda share: 1.0),
              "z depends on the share that is wanted: the inverse of Φ at 1 - share"),
        Wrong("gain left out", wrong_wake(
            lambda b, g, v, neuron, steps, gain, bias, z, floor: (floor - z, g, v)),
              "the word at z has the current gain z + bias, not z + bias"),
        Wrong("bias left out", wrong_wake(
            lambda b, g, v, neuron, steps, gain, bias, z, floor: (b, floor / z, v)),
              "gain z + bias = floor: the bias is subtracted before the division by z"),
        Wrong("bias added to the old one", wrong_wake(
            lambda b, g, v, neuron, steps, gain, bias, z, floor: (b - bias, g, v)),
              "asked is the bias itself, not by how much it must rise"),
        Wrong("floor for threshold", wrong_wake(
            lambda b, g, v, neuron, steps, gain, bias, z, floor: (b, g, bias + gain * z)),
              "this is the floor that the word at z reaches; the threshold is what its membrane "
              "comes to in T steps"),
        Wrong("v_reset forgotten", wrong_wake(
            lambda b, g, v, neuron, steps, gain, bias, z, floor: (b, g, v - neuron.v_reset)),
              "the membrane starts at v_reset, which is not 0 here, and charges up from there"),
    ],
)  # fmt: skip

# --- 5.7 predict: who wakes? --------------------------------------------------------------------

SLEEPER = LIFNeuron(alpha=4.0)
TARGET = 1.0  # spikes a word, on the mean


def firing_through_training(surrogate, optimiser, *, bias=-2.5, v_th=1.0, updates=200):
    """The share of 16 neurons' steps that fire, before each update of their gain and bias.

    All sleep at the start. The loss asks each for one spike a word, on the mean over 64 words:
    half the square of what is missing.
    """
    x = np.random.default_rng(5).standard_normal((64, 16))  # (N, D)
    neuron = replace(SLEEPER, surrogate=surrogate, v_th=v_th)
    params = {"gain": np.full(16, 0.3), "bias": np.full(16, bias)}
    state, rates = adamw_init(params), []
    for _ in range(updates):
        current, norm_cache = layernorm_forward(x, params["gain"], params["bias"])
        s, cache = spike_encoding_forward(current, steps=4, encoder="lif", neuron=neuron)
        rates.append(s.mean())
        dcount = (s.sum(axis=0).mean(axis=0) - TARGET) / len(x)  # (D,)
        dcurrent = spike_encoding_backward(np.broadcast_to(dcount, s.shape), cache)
        _, *grads = layernorm_backward(dcurrent, norm_cache)
        grads = dict(zip(params, grads, strict=True))
        if optimiser == "Adam":
            state = adamw_step(params, grads, state, learning_rate=0.02)
        else:
            params = {key: value - 0.5 * grads[key] for key, value in params.items()}
    return np.array(rates)


@remembered
def who_wakes():
    """Whether any neuron fires by the last update: wakes, or sleeps."""

    def told(*choice, **settings):
        return "wakes" if firing_through_training(*choice, **settings)[-1] > 0 else "sleeps"

    runs = {
        f"{surrogate}, {optimiser}": told(surrogate, optimiser)
        for surrogate in ("atan", "sigmoid", "triangle")
        for optimiser in ("SGD", "Adam")
    }
    return runs | {"triangle, SGD, bias 0": told("triangle", "SGD", bias=0.0)}


ex_05_7 = prediction(
    "5.7",
    who_wakes,
    name="predict",
    choices=("wakes", "sleeps"),
    wrong=[
        Wrong("below the floor nothing moves", lambda: {"atan, SGD": "sleeps"},
              "atan's slope falls as 1 / u² and is never zero: small steps, but steps"),
        Wrong("a small slope is a large one", lambda: {"sigmoid, SGD": "wakes"},
              "sigmoid's slope falls as exp(-alpha |u|): 200 steps along 1e-5 lead nowhere"),
        Wrong("Adam steps by the gradient's size", lambda: {"sigmoid, Adam": "sleeps"},
              "Adam divides the gradient by its own size: however small, its steps are as long"),
        Wrong("Adam makes something of nothing", lambda: {"triangle, Adam": "wakes"},
              "triangle's slope is exactly 0 so far below: 0 / (0 + eps) is 0"),
        Wrong("every surrogate has a tail", lambda: {"triangle, SGD": "wakes"},
              "triangle's slope is exactly 0 where |u| is 1 / alpha or more"),
        Wrong("a tail under Adam is none", lambda: {"atan, Adam": "sleeps"},
              "what wakes by small steps wakes by Adam's as well"),
        Wrong("dead is dead", lambda: {"triangle, SGD, bias 0": "sleeps"},
              "with a bias of 0 one word brings one neuron within 1 / alpha of the threshold, and "
              "there the slope is not 0"),
    ],
)  # fmt: skip
