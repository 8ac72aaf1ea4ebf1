"""Exercises of chapter 07: the spiking unit, the block, the head, and the whole student.

Letters: T spike steps, N packed tokens, B sentences, D width.
"""

from functools import cache as remembered

import numpy as np

from ..blocks.classifier_head import classifier_head_backward
from ..blocks.distillation_tap import distillation_tap_backward
from ..blocks.encoder_block import encoder_block_backward
from ..blocks.mlp import mlp_backward
from ..blocks.spike_input import spike_input_backward
from ..blocks.spiking_linear import spiking_linear_backward
from ..blocks.ssa import ssa_backward
from ..layers.layernorm import layernorm_backward
from ..layers.lif import LIFNeuron, lif_backward
from ..layers.linear import linear_backward
from ..layers.parameters import with_prefix
from ..layers.pooling import mean_over_time_backward, mean_pool_backward
from ..models.spikebert import (
    SpikeBertConfig,
    init_spikebert,
    spikebert_forward,
)
from .bug_hunt import bugs, find_the_bugs
from .exercise import Wrong, backward, prediction

DETACHED = {"reset": "hard", "detach_reset": True}

# What the notebook takes from here: all that an answer may have while it is marked.
__all__ = ["BLOCKS", "BUGS", "deep_student", "gradient_norms", "right", "silent_rows", "walk"]

# --- 7.1 the spiking unit -----------------------------------------------------------------------


def unit_in_another_order(ds, cache):
    dz, dgain, dbias = layernorm_backward(ds, cache.norm)
    dx, dweight, dlinear_bias = linear_backward(lif_backward(dz, cache.lif), cache.linear)
    return dx, {"weight": dweight, "bias": dlinear_bias, "norm.gain": dgain, "norm.bias": dbias}


def unit_edited(edit):
    """spiking_linear_backward, its dict of gradients edited."""

    def wrong(ds, cache):
        dx, dparams = spiking_linear_backward(ds, cache)
        return dx, dparams | edit(dparams)

    return wrong


ex_07_1 = backward("7.1", "spiking_linear", variant=DETACHED | {"norm": "layer"}, wrong=[
    Wrong("in the wrong order: layernorm", unit_in_another_order),
    Wrong("gradients swapped", unit_edited(
        lambda d: {"bias": d["norm.bias"], "norm.bias": d["bias"]})),
    Wrong("gradient missing", unit_edited(lambda d: {"norm.gain": 0 * d["norm.gain"]})),
])  # fmt: skip

# --- 7.2 predict: integers ----------------------------------------------------------------------

SPIKES = np.array([1, 0, 1, 0])  # x of one word and step, before the block
ATTENDED = np.array([1, 1, 0, 0])  # what ssa sends
THOUGHT = np.array([1, 0, 0, 0])  # what mlp sends
WEIGHT = np.array([[0.5, -1.0], [2.0, 2.0], [1.0, 0.0], [4.0, -4.0]])


def integers():
    """The sums of one block by hand, a product of them, and the largest count of deep students."""
    middle = SPIKES + ATTENDED
    out = middle + THOUGHT
    return {
        "after ssa": middle,
        "after mlp": out,
        "x W": out @ WEIGHT,
        "most after 2 blocks": 1 + 2 * 2,
        "most after 12 blocks": 1 + 2 * 12,
    }


ex_07_2 = prediction(
    "7.2",
    integers,
    name="integers_by_hand",
    wrong=[
        Wrong("one or none", lambda: {"after ssa": np.minimum(SPIKES + ATTENDED, 1),
                                      "after mlp": np.minimum(integers()["after mlp"], 1)},
              "the residual is a sum: where both fired it holds 2, not 1"),
        Wrong("the block's input twice", lambda: {"after mlp": SPIKES + THOUGHT},
              "the second residual starts from what the first has made, x + ssa(x)"),
        Wrong("input dropped", lambda: {"after ssa": ATTENDED},
              "x = x + ssa(x): what came in is kept, and the spikes are added to it"),
        Wrong("counts taken for spikes", lambda: {"x W": np.minimum(integers()["after mlp"], 1)
                                                  @ WEIGHT},
              "a count of 3 adds its row of W three times"),
        Wrong("one spike a block", lambda: {"most after 2 blocks": 3, "most after 12 blocks": 13},
              "each block adds twice, once behind ssa and once behind mlp"),
        Wrong("the encoder forgotten", lambda: {"most after 2 blocks": 4,
                                                "most after 12 blocks": 24},
              "the encoder's own spike lies under all that the blocks add"),
        Wrong("each sum doubles", lambda: {"most after 2 blocks": 2**4,
                                           "most after 12 blocks": 2**24},
              "what is added is a spike, 0 or 1, however large x is"),
        Wrong("all steps together", lambda: {"most after 2 blocks": 20,
                                             "most after 12 blocks": 100},
              "each of the T steps has counts of its own"),
    ],
)  # fmt: skip

# --- 7.3 the block ------------------------------------------------------------------------------


def ssa_before_mlp(dy, cache):
    dx_ssa, dssa = ssa_backward(dy, cache.ssa)
    dx = dy + dx_ssa
    dx_mlp, dmlp = mlp_backward(dx, cache.mlp)
    return dx + dx_mlp, with_prefix(dmlp, "mlp.") | with_prefix(dssa, "ssa.")


def mlp_only_for_its_parameters(dy, cache):
    _, dmlp = mlp_backward(dy, cache.mlp)
    dx_ssa, dssa = ssa_backward(dy, cache.ssa)
    return dy + dx_ssa, with_prefix(dmlp, "mlp.") | with_prefix(dssa, "ssa.")


def second_residual_alone(dy, cache):
    dx_mlp, dmlp = mlp_backward(dy, cache.mlp)
    dx_ssa, dssa = ssa_backward(dy + dx_mlp, cache.ssa)
    return dx_ssa, with_prefix(dmlp, "mlp.") | with_prefix(dssa, "ssa.")


def gradient_of_the_output_on_the_straight_path(dy, cache):
    dx_mlp, dmlp = mlp_backward(dy, cache.mlp)
    dx_ssa, dssa = ssa_backward(dy + dx_mlp, cache.ssa)
    return dy + dx_ssa, with_prefix(dmlp, "mlp.") | with_prefix(dssa, "ssa.")


ex_07_3 = backward(
    "7.3",
    "encoder_block",
    variant=DETACHED | {"attention": True, "norm": "layer"},
    wrong=[
        Wrong("in the wrong order: ssa", ssa_before_mlp),
        Wrong("path dropped: mlp", mlp_only_for_its_parameters),
        Wrong("straight path dropped", second_residual_alone),
        Wrong("straight path of another gradient", gradient_of_the_output_on_the_straight_path),
    ],
)

# --- 7.4 read a plot: the gradient's way down ---------------------------------------------------

BLOCKS = 8


def deep_student(v_th):
    """(cache, dlogits) of a student of eight blocks with random weights, on twenty sentences."""
    rng = np.random.default_rng(0)
    config = SpikeBertConfig(
        vocab_size=200, width=32, heads=4, blocks=BLOCKS, embedding_width=32, kernel_width=1,
        dropout=0.0, neuron=LIFNeuron(v_th=v_th),
    )  # fmt: skip
    params = {key: value.astype(float) for key, value in init_spikebert(config, rng).items()}
    offsets = np.concatenate([[0], np.cumsum(rng.integers(5, 15, 20))])
    ids = rng.integers(0, config.vocab_size, offsets[-1])
    _, cache = spikebert_forward(ids, offsets, params, config, backend="numpy", taps=False)
    return cache, rng.standard_normal((20, 2)) / 20


def through_the_parts_alone(dy, block):
    """encoder_block_backward without its two straight paths."""
    return ssa_backward(mlp_backward(dy, block.mlp)[0], block.ssa)[0]


def walk(cache, dlogits, back):
    """dx (T, N, D) above the last block, and below each: the last block first."""
    dx, _ = classifier_head_backward(dlogits, cache.head)
    gradients = [dx]
    for block in reversed(cache.blocks):
        gradients.append(back(gradients[-1], block))
    return gradients


def right(dy, block):
    return encoder_block_backward(dy, block)[0]


@remembered
def gradient_norms():
    """{letter: the norm of dx above block 8, below it, ..., below block 1} of three gradients."""
    low, dlow = deep_student(v_th=0.5)
    high, dhigh = deep_student(v_th=1.0)
    return {
        "A": [np.linalg.norm(dx[silent_rows(high)]) for dx in walk(high, dhigh, right)],
        "B": [np.linalg.norm(dx) for dx in walk(low, dlow, through_the_parts_alone)],
        "C": [np.linalg.norm(dx) for dx in walk(low, dlow, right)],
    }


def silent_rows(cache):
    """(T, N): the steps of a word at which neither the encoder nor any block has fired."""
    return ~cache.head.norm.x_hat.any(axis=-1)  # x = 0, and so is x_hat


def told_by_the_norms():
    """What the figure of gradient_norms tells."""
    norms = gradient_norms()
    left = np.log10(norms["B"][-1] / norms["B"][0])
    return {
        "cut": "B",
        "silent": "A",
        "a block takes, cut": -left / BLOCKS,
        "below block 1, C": np.log10(norms["C"][-1]),
    }


ex_07_4 = prediction(
    "7.4",
    told_by_the_norms,
    name="read_norms",
    choices=("A", "B", "C"),
    tolerance=0.2,
    wrong=[
        Wrong("silent rows get no gradient", lambda: {"silent": "B"},
              "a silent row's layer norms divide by a small spread: its gradient grows"),
        Wrong("silent rows are like the others", lambda: {"silent": "C"},
              "a silent row's layer norms divide by a small spread: its gradient grows"),
        Wrong("the cut is the flat line", lambda: {"cut": "C"},
              "without the straight path each block multiplies by small slopes, eight times"),
        Wrong("the cut makes it grow", lambda: {"cut": "A"},
              "without the straight path each block multiplies by small slopes, eight times"),
        Wrong("all blocks for one", lambda: {"a block takes, cut":
                                             BLOCKS * told_by_the_norms()["a block takes, cut"]},
              "this is what all eight blocks take: divide by eight"),
        Wrong("the norm for its power", lambda: {"below block 1, C": gradient_norms()["C"][-1]},
              "asked is the power of ten, as the axis has it"),
        Wrong("every path shrinks", lambda: {"below block 1, C":
                                             np.log10(gradient_norms()["B"][-1])},
              "line C hardly moves: the straight path carries the gradient down as it is"),
    ],
)  # fmt: skip

# --- 7.5 the head -------------------------------------------------------------------------------


def head_by(spread=mean_pool_backward, time=mean_over_time_backward):
    """classifier_head_backward by another mean over words, or another over time."""

    def wrong(dlogits, cache):
        dparams = {}
        dlogits = time(dlogits, cache.time)
        dpooled, dparams["weight"], dparams["bias"] = linear_backward(dlogits, cache.linear)
        dx = spread(dpooled, cache.pool)
        dx, dparams["norm.gain"], dparams["norm.bias"] = layernorm_backward(dx, cache.norm)
        return dx, dparams

    return wrong


def last_step_alone(dlogits, cache):
    steps = np.zeros((cache.steps, *dlogits.shape))
    steps[-1] = dlogits / cache.steps
    return steps


ex_07_5 = backward("7.5", "classifier_head", variant={"dropout": 0.0}, wrong=[
    Wrong("not divided by the length", head_by(
        lambda dy, cache: np.repeat(dy, cache.lengths, axis=1))),
    Wrong("one length for all sentences", head_by(
        lambda dy, cache: np.repeat(dy / cache.lengths.mean(), cache.lengths, axis=1))),
    Wrong("last step only", head_by(time=last_step_alone)),
    Wrong("gradients swapped", lambda dlogits, cache: (
        lambda dx, d: (dx, d | {"norm.gain": d["norm.bias"], "norm.bias": d["norm.gain"]})
        )(*classifier_head_backward(dlogits, cache))),
])  # fmt: skip

# --- 7.6 the whole student ----------------------------------------------------------------------


def student_by(join=lambda dx, dx_tap: dx + dx_tap, order=reversed, below=False):
    """spikebert_backward with another way or place to join a tap's gradient, or another order."""

    def wrong(dlogits, dtaps, cache):
        dx, dhead = classifier_head_backward(dlogits, cache.head)
        dparams = with_prefix(dhead, "head.")
        for i in order(range(len(cache.blocks))):
            dx_tap, dtap = distillation_tap_backward(dtaps[i], cache.taps[i])
            if not below:
                dx = join(dx, dx_tap)
            dx, dblock = encoder_block_backward(dx, cache.blocks[i])
            if below:
                dx = join(dx, dx_tap)
            dparams |= with_prefix(dblock, f"blocks.{i}.") | with_prefix(dtap, f"taps.{i}.")
        return dparams | with_prefix(spike_input_backward(dx, cache.input), "embedding.")

    return wrong


ex_07_6 = backward("7.6", "spikebert", variant=DETACHED | {"original": False}, wrong=[
    Wrong("path dropped: distillation_tap", student_by(join=lambda dx, dx_tap: dx)),
    Wrong("path dropped: encoder_block", student_by(join=lambda dx, dx_tap: dx_tap)),
    Wrong("sign flipped", student_by(join=lambda dx, dx_tap: dx - dx_tap)),
    Wrong("in the wrong order: encoder_block", student_by(order=iter)),
    Wrong("in the wrong order: distillation_tap", student_by(below=True)),
])  # fmt: skip

# --- 7.7 find the bug ---------------------------------------------------------------------------

BUGS = bugs(
    ("mlp", "mlp_without_its_last_neuron"),
    ("encoder_block", "block_ssa_reads_the_output"),
    ("spiking_linear", "unit_without_leak"),
    ("distillation_tap", "tap_with_a_fixed_variance"),
)
ex_07_7 = find_the_bugs("7.7", BUGS)
