"""Exercises of chapter 11: energy, counted three ways.

Letters: T spike steps, N packed tokens, n tokens of one sentence, D_in and D_out widths, H heads.
"""

import numpy as np

from ..analysis.energy import NUMBER_BYTES, PICOJOULES, energy_millijoules, millijoules
from ..analysis.operations import count_bert, count_student, linear_counts, without_spikes
from ..models.spikebert import SpikeBertConfig, init_spikebert, spikebert_forward
from .exercise import Wrong, function, prediction

# What the notebook takes from here: all that an answer may have while it is marked.
__all__ = ["CHOICES", "PAPER", "spikes"]

# --- 11.1 multiply-accumulates by hand ------------------------------------------------------------


def macs_by_hand():
    """MACs of one block's products, of a sentence of 5 tokens, 8 wide, in 2 heads, an MLP of 32."""
    macs, longer = (
        {layer.name.removeprefix("blocks.0."): layer.macs for layer in layers}
        for layers in (
            count_bert(np.array([0, n]), depth=1, width=8, mlp_width=32) for n in (5, 10)
        )
    )
    return {
        "q": macs["attention.q"],
        "q kᵀ": macs["attention.qk"],
        "the MLP": macs["feed_forward.up"] + macs["feed_forward.down"],
        "the block": sum(macs.values()),
        "q kᵀ of 10 tokens": longer["attention.qk"],
    }


ex_11_1 = prediction(
    "11.1",
    macs_by_hand,
    name="by_hand",
    wrong=[
        Wrong("one token only", lambda: {"q": 64},
              "the weight is used once for each of the 5 tokens"),
        Wrong("the weight's sum too", lambda: {"q": 5 * 8 * 9},
              "a bias is added, not multiplied: D_in x D_out operations a token"),
        Wrong("multiplications and additions", lambda: {"q": 640},
              "a multiply-accumulate is one operation, of a multiplication and an addition"),
        Wrong("heads counted", lambda: {"q kᵀ": 400},
              "a head is E = D / H wide: H heads of n x n x E are n x n x D together"),
        Wrong("one head only", lambda: {"q kᵀ": 100},
              "this is one head: there are two of them, n x n x D in all"),
        Wrong("the width left out", lambda: {"q kᵀ": 25},
              "an entry of the map is a sum over the channels: n x n x D"),
        Wrong("one product of the MLP", lambda: {"the MLP": 5 * 8 * 32},
              "up and down are two layers of 8 x 32 each"),
        Wrong("attention grows as a line", lambda: {"q kᵀ of 10 tokens": 400},
              "each token meets each: twice the tokens make four times the pairs"),
    ],
)  # fmt: skip

# --- 11.2 the literature's rule -------------------------------------------------------------------


def literature_sops(x, width_out):
    """The mean spike count of x (T, N, D_in), and the SOPs of a layer D_in -> D_out."""
    return x.mean(), linear_counts(x, width_out)[0]


def draw_counts(rng):
    """Spike counts x (T, N, D_in), of 0 to 3, and D_out."""
    x = rng.choice(4, (3, 5, 7), p=(0.6, 0.25, 0.1, 0.05)) * 1.0
    x[0, 0, :3] = 1, 2, 3  # at least one of each
    return x, 6


def wrong_sops(mean=lambda x: x.mean(), operations=lambda x, width: x[0].size * width,
               steps=len):  # fmt: skip
    def sops(x, width_out):
        return mean(x), mean(x) * steps(x) * operations(x, width_out)

    return sops


ex_11_2 = function(
    "11.2",
    literature_sops,
    draw_counts,
    name="count_sops",
    outputs=("spike_count", "sops"),
    hides=("linear_counts",),
    wrong=[
        Wrong("rate for count", wrong_sops(mean=lambda x: (x > 0).mean()),
              "the mean of x itself: behind a residual an input of 2 is two spikes"),
        Wrong("T left out", wrong_sops(steps=lambda x: 1),
              "the mean is of one step: the layer runs in each of T steps"),
        Wrong("T twice", wrong_sops(mean=lambda x: x.sum(axis=0).mean()),
              "a count that is summed over the steps has T in it: times T once more, it is twice"),
        Wrong("T twice", lambda x, width: (x.mean(), len(x) * x.sum() * width),
              "x.sum() is over all steps already: T is in it, once"),
        Wrong("a count for a mean", lambda x, width: (x.sum(axis=0).mean(), x.sum() * width),
              "r is the mean over the steps too: x.mean(), not T times that"),
        Wrong("a spike meets the whole weight", lambda x, width: (
            x.mean(), x.sum() * x.shape[2] * width),
              "a spike of input i adds the row i of the weight, D_out numbers, not all D_in rows"),
        Wrong("one token only", wrong_sops(operations=lambda x, width: x.shape[2] * width),
              "operations are those of all N tokens: N x D_in x D_out"),
        Wrong("D_out left out", wrong_sops(operations=lambda x, width: x[0].size),
              "each spike adds a whole row of the weight, D_out numbers"),
        Wrong("D_in left out", wrong_sops(operations=lambda x, width: x.shape[1] * width),
              "operations are N x D_in x D_out"),
        Wrong("every spike a multiply-accumulate", wrong_sops(mean=lambda x: 1.0),
              "this is the dense count, T x operations: the mean spike count multiplies it"),
    ],
)  # fmt: skip

# --- 11.3 the strict rule -------------------------------------------------------------------------


def strict_counts(x, width_out):
    """ACs and MACs of a layer D_in -> D_out on spike counts x (T, N, D_in)."""
    return linear_counts(x, width_out)[1:]


def wrong_strict(acs, macs):
    return lambda x, width_out: (acs(x) * width_out, macs(x) * width_out)


ex_11_3 = function(
    "11.3",
    strict_counts,
    draw_counts,
    name="count_strictly",
    outputs=("acs", "macs"),
    hides=("linear_counts",),
    wrong=[
        Wrong("every spike added", wrong_strict(lambda x: x.sum(), lambda x: 0 * x.sum()),
              "this is the literature's count: an input of 2 or 3 is to be multiplied"),
        Wrong("every input added", wrong_strict(lambda x: (x > 0).sum(), lambda x: 0 * x.sum()),
              "an input of 2 cannot be added like a spike: it is a MAC"),
        Wrong("integers by their size", wrong_strict(
            lambda x: (x == 1).sum(), lambda x: x[x > 1].sum()),
              "an input of 3 is multiplied once: one MAC a weight, whatever its size"),
        Wrong("zeros multiplied", wrong_strict(
            lambda x: (x == 1).sum(), lambda x: (x != 1).sum()),
              "an input of 0 costs nothing: nothing is sent"),
        Wrong("the whole layer multiplied", wrong_strict(
            lambda x: 0 * x.sum(), lambda x: x.size),
              "SpikingJelly's counter takes a layer so, zeros and all; here each input is judged "
              "by itself"),
        Wrong("ones counted twice", wrong_strict(
            lambda x: (x == 1).sum(), lambda x: (x > 0).sum()),
              "an input of 1 is added, and not multiplied as well"),
        Wrong("integers added as well", wrong_strict(
            lambda x: (x > 0).sum(), lambda x: (x > 1).sum()),
              "an input above 1 is a MAC, which holds its addition: it is no AC besides"),
        Wrong("twos alone", wrong_strict(lambda x: (x == 1).sum(), lambda x: (x == 2).sum()),
              "an input of 3 is multiplied too: x > 1"),
        Wrong("D_out left out", lambda x, width: ((x == 1).sum(), (x > 1).sum()),
              "each input meets a row of D_out weights"),
        Wrong("means for counts", lambda x, width: (
            (x == 1).mean() * width, (x > 1).mean() * width),
              "these are shares: count the inputs, .sum()"),
        Wrong("integers left out", wrong_strict(
            lambda x: (x == 1).sum(), lambda x: 0 * x.sum()),
              "inputs above 1 cost more than ones, not nothing"),
    ],
)  # fmt: skip

# --- 11.4 bytes moved -----------------------------------------------------------------------------


def moved_bytes(x, width_out):
    """Bytes of weights, biases and membranes of a spiking layer D_in -> D_out."""
    _, acs, macs = linear_counts(x, width_out)
    outputs = x.shape[0] * x.shape[1] * width_out
    return NUMBER_BYTES * (acs + macs), NUMBER_BYTES * outputs, 2 * NUMBER_BYTES * outputs


def wrong_bytes(edit):
    """edit(weights, biases, membranes, x, width_out) -> three numbers."""
    return lambda x, width_out: edit(*moved_bytes(x, width_out), x, width_out)


ex_11_4 = function(
    "11.4",
    moved_bytes,
    draw_counts,
    name="count_bytes",
    outputs=("weights", "biases", "membranes"),
    hides=("bytes_moved",),
    wrong=[
        Wrong("each weight once", wrong_bytes(
            lambda w, b, m, x, width: (4 * x.shape[2] * width, b, m)),
              "that is a perfect cache; this rule reads a row again for each input that fires"),
        Wrong("all weights at every step", wrong_bytes(
            lambda w, b, m, x, width: (4 * x.size * width, b, m)),
              "a row is read where its input fires, and only there"),
        Wrong("a 2 reads twice", wrong_bytes(
            lambda w, b, m, x, width: (4 * x.sum() * width, b, m)),
              "an input of 2 reads its row once, and multiplies it"),
        Wrong("one step, one token", wrong_bytes(lambda w, b, m, x, width: (
            4 * x.shape[2] * width, 4 * width, 8 * x.shape[1] * width)),
              "this reads each number once; the rule reads it again for each input that fires, "
              "and for each of T N D_out outputs"),
        Wrong("numbers for bytes", wrong_bytes(lambda w, b, m, x, width: (w / 4, b / 4, m / 4)),
              "a number of 32 bits is four bytes"),
        Wrong("bits for bytes", wrong_bytes(lambda w, b, m, x, width: (8 * w, 8 * b, 8 * m)),
              "32 bits are four bytes, not 32"),
        Wrong("read, not written", wrong_bytes(lambda w, b, m, x, width: (w, b, m / 2)),
              "the membrane is read and written at each step: eight bytes"),
        Wrong("biases in one step", wrong_bytes(
            lambda w, b, m, x, width: (w, b / x.shape[0], m)),
              "the bias is added again at each of the T steps"),
        Wrong("membranes in one step", wrong_bytes(
            lambda w, b, m, x, width: (w, b, m / x.shape[0])),
              "the membrane is what is carried from step to step: read and written at each"),
    ],
)  # fmt: skip

# --- 11.5 predict: what grows with what -----------------------------------------------------------


def spikes(T, N, D_in, every=8, value=1.0):
    """Counts (T, N, D_in) in which every so many-th input is `value`, the others 0."""
    x = np.zeros((T, N, D_in))
    x.reshape(-1)[::every] = value
    return x


def growth():
    """By how much energy, or a count, grows from a layer 16 -> 8 on 4 tokens in 4 steps."""
    sops, acs, _ = linear_counts(spikes(4, 4, 16), 8)
    *_, twos = linear_counts(spikes(4, 4, 16, value=2.0), 8)
    short, long = (
        {layer.name: layer.macs for layer in count_bert(np.array([0, n]), depth=1, width=8,
                                                        mlp_width=8)}
        for n in (4, 8)
    )  # fmt: skip
    return {
        "twice the spikes": linear_counts(spikes(4, 4, 16, every=4), 8)[0] / sops,
        "twice the steps": linear_counts(spikes(8, 4, 16), 8)[0] / sops,
        "both widths doubled": linear_counts(spikes(4, 4, 32), 16)[0] / sops,
        "attention, twice the tokens": long["blocks.0.attention.qk"]
        / short["blocks.0.attention.qk"],
        "every 1 a 2, literature": linear_counts(spikes(4, 4, 16, value=2.0), 8)[0] / sops,
        "every 1 a 2, strict": twos * PICOJOULES["MAC"] / (acs * PICOJOULES["AC"]),
        "every 1 a 2, weights read": twos / acs,
    }


ex_11_5 = prediction(
    "11.5",
    growth,
    name="predict_growth",
    wrong=[
        Wrong("time is free", lambda: {"twice the steps": 1},
              "at the same firing per step, twice the steps send twice the spikes"),
        Wrong("one width only", lambda: {"both widths doubled": 2},
              "twice the inputs fire, and each adds a row twice as long"),
        Wrong("attention grows as a line", lambda: {"attention, twice the tokens": 2},
              "each token meets each: n x n x D"),
        Wrong("a 2 is one spike", lambda: {"every 1 a 2, literature": 1},
              "the literature's rule takes a 2 for two spikes"),
        Wrong("a MAC for an AC", lambda: {"every 1 a 2, strict": 2},
              "the strict rule multiplies once: 4.6 pJ in place of 0.9"),
        Wrong("MACs by the size", lambda: {"every 1 a 2, strict": 2 * 4.6 / 0.9},
              "the size of the integer does not matter: one multiplication a weight"),
        Wrong("a 2 reads twice", lambda: {"every 1 a 2, weights read": 2},
              "its row is read once, and multiplied by 2"),
        Wrong("spikes squared", lambda: {"twice the spikes": 4},
              "each spike adds one row: twice the spikes, twice the energy"),
    ],
)  # fmt: skip

# --- 11.6 predict: the shares of a student --------------------------------------------------------

OFFSETS = np.arange(0, 101, 10)  # ten sentences of ten tokens


def untrained_counts():
    """The LayerCounts of a student of the shipped one's shape and of random weights."""
    config = SpikeBertConfig(vocab_size=500, width=128, heads=4, kernel_width=5)
    rng = np.random.default_rng(11)
    params, ids = init_spikebert(config, rng), rng.integers(0, 500, OFFSETS[-1])
    return count_student(spikebert_forward(ids, OFFSETS, params, config, backend="numpy")[1])


def share(layers, rule="literature", extra=0.0):
    """Of the same network without spikes; extra: mJ beside what the rule counts."""
    return (millijoules(layers)[rule] + extra) / millijoules(without_spikes(layers))[rule]


def shares():
    """How each share lies to the literature's of the whole student: higher or lower."""
    layers = untrained_counts()
    own = share(layers)
    bert = count_bert(OFFSETS, depth=6, width=384, mlp_width=1536)
    twice = [layer._replace(sops=2 * layer.sops) for layer in layers]
    updates = energy_millijoules(4 * sum(layer.neurons for layer in layers), 0.0)
    dearest = max(layers, key=lambda layer: millijoules([layer])["literature"])

    def told(other):
        return "higher" if other > own else "lower"

    return {
        "strict": told(share(layers, "strict")),
        "with memory": told(share(layers, "with_memory")),
        "blocks alone": told(share([layer for layer in layers if "blocks" in layer.name])),
        "of a BERT, 384 wide": told(
            millijoules(layers)["literature"] / millijoules(bert)["literature"]
        ),
        "firing twice as often": told(share(twice)),
        "with 4 MACs a neuron and step": told(share(layers, extra=updates)),
        "dearest layer": dearest.name,
    }


ex_11_6 = prediction(
    "11.6",
    shares,
    name="predict_shares",
    wrong=[
        Wrong("strictness is cheap", lambda: {"strict": "lower"},
              "what was an addition becomes a multiplication; the dense network stays as it was"),
        Wrong("memory is saved too", lambda: {"with memory": "lower"},
              "membranes are read and written whether anything fires or not, and biases T times"),
        Wrong("blocks cost most", lambda: {"blocks alone": "higher"},
              "the blocks are where spikes save; the projection, in both networks, is dense"),
        Wrong("the teacher is no larger", lambda: {"of a BERT, 384 wide": "higher"},
              "the teacher is three times as wide and three times as deep"),
        Wrong("spikes are free", lambda: {"firing twice as often": "lower"},
              "every spike costs: the sums over them double"),
        Wrong("neurons are free", lambda: {"with 4 MACs a neuron and step": "lower"},
              "what is added to the student alone raises its share"),
        Wrong("the widest layer", lambda: {"dearest layer": "blocks.1.mlp.up"},
              "among the layers of spikes, yes; but one layer multiplies numbers"),
    ],
)  # fmt: skip

# --- 11.7 find what is wrong ----------------------------------------------------------------------

CHOICES = {
    "right": "nothing is wrong",
    "numbers as spikes": "the input is not spikes, but counted at the price of accumulates",
    "integers as spikes": "the input is above 1 in places, but counted by how many are not 0",
    "T twice": "the number of steps is in the product twice",
    "heads twice": "the number of heads is in the product, where the width holds it already",
    "two lengths": "the two networks did not read the same sentences",
}
PAPER = {
    "line 1": "The embedding's convolution, 5 words x 384 -> 128: all layers of the network being "
    "spiking, it has 0.9 pJ x 5 n 384 128.",
    "line 2": "mlp.down reads spikes. In a step 5 % of its inputs fire, T = 4: "
    "SOP = 0.05 x 4 x n 512 128.",
    "line 3": "ssa.out reads spikes. Over the 4 steps together an input fires 0.4 times on "
    "average: SOP = 0.4 x 4 x n 128 128.",
    "line 4": "q kᵀ has H = 4 heads and D = 128 channels: 4 n² 128 operations a step.",
    "line 5": "mlp.up reads the residual sum. 12 % of its entries are not 0, T = 4: "
    "SOP = 0.12 x 4 x n 128 512.",
    "line 6": "BERT is padded to 128 tokens: 6 blocks of 12 x 128 x 384² MACs and its attention. "
    "The spiking network was counted on the sentences as they are, n = 25.",
    "line 7": "The classifier reads the mean over tokens and steps, once: 128 x 2 MACs at 4.6 pJ.",
}


def what_is_wrong():
    return {
        "line 1": "numbers as spikes",
        "line 2": "right",
        "line 3": "T twice",
        "line 4": "heads twice",
        "line 5": "integers as spikes",
        "line 6": "two lengths",
        "line 7": "right",
    }


ex_11_7 = prediction(
    "11.7",
    what_is_wrong,
    name="find_mistakes",
    choices=tuple(CHOICES),
    wrong=[
        Wrong("embedding taken for spikes", lambda: {"line 1": "right"},
              "a word's vector is numbers; the first spikes come out of the encoder behind it"),
        Wrong("a mean in one step", lambda: {"line 2": "T twice"},
              "5 % in a step, times 4 steps: T is in it once"),
        Wrong("T overlooked", lambda: {"line 3": "right"},
              "0.4 is of the 4 steps together: it holds T already"),
        Wrong("heads overlooked", lambda: {"line 4": "right"},
              "four heads of 32 channels each are 128 channels: H is in D"),
        Wrong("2 read as 1", lambda: {"line 5": "right"},
              "the share that is not 0 takes a 2 for one spike: the mean, or a MAC, is needed"),
        Wrong("padding overlooked", lambda: {"line 6": "right"},
              "the teacher pays for 103 tokens that nobody wrote"),
        Wrong("numbers behind the mean", lambda: {"line 7": "numbers as spikes"},
              "a MAC each is the price of numbers: this line is as it should be"),
    ],
)  # fmt: skip
