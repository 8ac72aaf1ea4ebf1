# %% [markdown]
# # 11 Energy: counting operations three ways, and what none of them measures
#
# Papers on spiking networks end in a table of energy, with a figure such as "72 % less than BERT". No
# joule was measured for it. Operations were counted, and multiplied by a price. This chapter counts them
# by three rules, on a trained network, and then asks a processor.
#
# **After this chapter you can** count the operations of a layer and of attention, turn spikes into
# energy by the literature's rule and by two stricter ones, say what each leaves out, and find the usual
# mistakes in a published figure.
#
# **Time** about 45 minutes, seven exercises. **You need** NumPy. That a neuron sends spikes over T steps
# (chapter 02) and what a block is made of (chapter 07) is repeated here.
#
# How the exercises work: you write a function in place of `raise NotImplementedError(...)`, and run
# the cell below it. It prints a table, a verdict and, where something is wrong, the likely mistake.
# If you skip an exercise, the chapter goes on with our own answer.

# %%
import inspect

import numpy as np

from spikebert_np.analysis import energy, operations
from spikebert_np.analysis import neuron_plots as plots
from spikebert_np.checking import exercises as checks
from spikebert_np.checking.chapter_11 import CHOICES, PAPER, spikes

# %% [markdown]
# ## 1. What a dense network does
#
# A linear layer takes $N$ tokens from width $D_\text{in}$ to $D_\text{out}$. Each output is a sum of
# $D_\text{in}$ products, so there are
#
# $$N\,D_\text{in}\,D_\text{out}$$
#
# **multiply-accumulates** (MACs): one multiplication and the addition behind it, together one operation.
# Attention in a sentence of $n$ tokens has two products more, $q\,k^\top$ and what it does to $v$. Every
# token meets every token over $D$ channels: $n^2 D$ each. How many heads share these channels makes no
# difference. Biases, norms, softmax and the like are left out by everybody.
#
# ### Exercise 11.1: predict, then run
#
# A block reads a sentence of 5 tokens. It is 8 wide, with 2 heads and an MLP of 32, so: four linear layers
# 8 to 8 (q, k, v and the output), the two products of attention, and the MLP's 8 to 32 and 32 to 8. How
# many MACs has q? $q\,k^\top$? The MLP? The block? And $q\,k^\top$ in a sentence of 10 tokens?
#
# <details><summary>Hint 1</summary>
#
# q is a linear layer 8 to 8 that reads 5 tokens: $5 \cdot 8 \cdot 8$.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# $q\,k^\top$ has $5 \cdot 5$ entries, in each of 2 heads, and each is a sum over 4 channels. The block is
# four times q, twice $q\,k^\top$, and the MLP.
#
# </details>


# %%
def by_hand():
    """Return numbers under "q", "q kᵀ", "the MLP", "the block" and "q kᵀ of 10 tokens"."""
    # BEGIN SOLUTION 11.1
    return {
        "q": 5 * 8 * 8,
        "q kᵀ": 5 * 5 * 8,
        "the MLP": 2 * 5 * 8 * 32,
        "the block": 4 * 320 + 2 * 200 + 2560,
        "q kᵀ of 10 tokens": 10 * 10 * 8,
    }
    # END SOLUTION


# %%
checks.ex_11_1(by_hand)

# %% [markdown]
# Linear layers grow with the sentence, attention with its square. Here is one block of MiniLM, the
# teacher, 384 wide. Sentences of film reviews have about 25 tokens: there, attention hardly counts.

# %%
lengths = np.arange(1, 513)
layers = [
    operations.count_bert(np.array([0, n]), depth=1, width=384, mlp_width=1536) for n in lengths
]
meeting = [sum(layer.macs for layer in block if ".qk" in layer.name) / 1e6 for block in layers]
whole = [sum(layer.macs for layer in block) / 1e6 for block in layers]
plots.curves(
    lengths,
    {"linear layers": np.subtract(whole, meeting), "products of attention": meeting},
    title="One block of a BERT, 384 wide",
    xlabel="tokens of the sentence",
    ylabel="million MACs",
)

# %% [markdown]
# ## 2. The literature's rule
#
# A spike is a 1. To multiply a row of weights by 1 is not to multiply at all: the row is added, one
# **accumulate** (AC) for each of its $D_\text{out}$ numbers. A 0 adds nothing. In 45 nm silicon, for 32-bit
# floating point, an addition takes 0.9 pJ, and a multiplication with its addition 4.6 pJ (Horowitz 2014). So
# the rule of Spikformer and SpikeBERT is:
#
# | the layer reads | operations that count | price |
# |---|---|---|
# | numbers | MACs | 4.6 pJ |
# | spikes | SOP = $r \cdot T \cdot$ MACs of one step | 0.9 pJ |
#
# $r$ is the mean of the input: over all steps, tokens and inputs. SOP stands for synaptic operations.
#
# ### Exercise 11.2: count SOPs
#
# `x` is (T, N, D_in). Mind that it need not be 0 or 1: behind a residual sum $x + \text{ssa}(x)$ two spikes
# may lie on each other. The literature's rule takes a 2 for two spikes.
#
# <details><summary>Hint 1</summary>
#
# The mean spike count is the mean of `x`, and not the share of its entries that are not 0.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# The MACs of one step are `N * D_in * width_out`, with `T, N, D_in = x.shape`. Does it come to
# `x.sum() * width_out`?
#
# </details>


# %%
def count_sops(x, width_out):
    """x: spike counts (T, N, D_in). Returns the mean spike count and the SOPs of D_in -> D_out."""
    # BEGIN SOLUTION 11.2
    T, N, D_in = x.shape
    return x.mean(), x.mean() * T * N * D_in * width_out
    # END SOLUTION


# %%
sops = checks.ex_11_2(count_sops).use

# %% [markdown]
# The T cancels: all in all, the SOPs are the spikes times $D_\text{out}$. This is the best protection
# against the commonest mistake, a T too many: *count spikes, not rates*.
#
# Two published figures, to see that prices and units are understood: giga-MACs, giga-ACs, and the mJ that
# were printed.

# %%
for macs, acs, printed in ((0.347329512, 6.51754094, 7.4635), (0.005312266, 0.24585125, 0.245703)):
    print(f"{energy.energy_millijoules(1e9 * macs, 1e9 * acs):.6g} mJ, printed: {printed}")

# %% [markdown]
# ## 3. The strict rule
#
# How often is a residual sum more than 1? We ask a trained network, the student for SST-2 that travels
# with this package: 128 wide, two blocks, T = 4. It reads 240 sentences, and we look at what its layers read.

# %%
from spikebert_np.data.shipped import open_corpus, shipped_student
from spikebert_np.data.tokenizer import encode_texts, load_tokenizer
from spikebert_np.models.spikebert import spikebert_forward
from spikebert_np.training.checkpoint import load_run

run = load_run(shipped_student())
tokenizer = load_tokenizer(run.directory / "tokenizer.json")
texts = open_corpus("toy_reviews")["dev"].texts
encoded = encode_texts(tokenizer, texts)
_, cache = spikebert_forward(
    encoded.ids, encoded.offsets, run.params, run.config, backend="numpy", taps=False
)
inputs = {}
for i, (ssa, mlp) in enumerate(cache.blocks):
    for name, unit in (("q", ssa.q), ("out", ssa.out), ("up", mlp.up), ("down", mlp.down)):
        inputs[f"block {i}, {name}"] = unit.linear.x
plots.bars(
    {
        "read a 1": {name: 100 * np.mean(x == 1) for name, x in inputs.items()},
        "read a 2": {name: 100 * np.mean(x == 2) for name, x in inputs.items()},
        "read 3 or more": {name: 100 * np.mean(x > 2) for name, x in inputs.items()},
    },
    title="What the layers of a trained student read",
    unit="% of the inputs",
)

# %% [markdown]
# (Mind the three scales: most of what is read is a 1.)
#
# The first q reads what the encoder sends: spikes. `out` and `down` read neurons: spikes. But what comes
# after a residual sum is integers. On hardware that can only add, an integer is no spike, and an adder
# does not multiply by 3. The **strict rule** judges each input by itself:
#
# - 0: nothing is sent, nothing is done;
# - 1: a row is added, $D_\text{out}$ ACs;
# - 2 or more: a row is multiplied and added, $D_\text{out}$ MACs.
#
# ### Exercise 11.3: count strictly
#
# <details><summary>Hint 1</summary>
#
# `x == 1` is an array of True and False; its sum is how many are True.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `(x == 1).sum()` inputs are added, `(x > 1).sum()` are multiplied. Each meets `width_out` weights. What the
# integer is, 2 or 3, makes no difference.
#
# </details>


# %%
def count_strictly(x, width_out):
    """x: spike counts (T, N, D_in). Returns the ACs and the MACs of a layer D_in -> D_out."""
    # BEGIN SOLUTION 11.3
    return (x == 1).sum() * width_out, (x > 1).sum() * width_out
    # END SOLUTION


# %%
strict = checks.ex_11_3(count_strictly).use

# %% [markdown]
# Ours counts all three at once.

# %%
print(inspect.getsource(operations.linear_counts))

# %% [markdown]
# Stricter rules exist. SpikingJelly's counter looks at a layer's input as a whole: if a single entry is not
# 0 or 1, the layer is dense, zeros and all. For the MLP of the second block that is:

# %%
x = inputs["block 1, up"]
acs, macs = strict(x, 512)
print(
    f"each input by itself  {(0.9 * acs + 4.6 * macs) * 1e-3 / len(texts):8.3f} nJ a sentence (theoretical)"
)
print(
    f"the layer as a whole  {4.6 * x.size * 512 * 1e-3 / len(texts):8.3f} nJ a sentence (theoretical)"
)

# %% [markdown]
# The same layer, the same spikes, and figures that are many times apart. A table of energy without its
# rule says nothing.
#
# ## 4. With memory
#
# An operation needs its operands, and to fetch them may cost more than the operation. SpikingJelly 2.0.0 puts
# 24.96 pJ on a byte. A weight of 32 bits is 4 bytes: to read it costs as much as 111 additions. It counts
# three things:
#
# - a weight is read each time it is used: $D_\text{out}$ weights for each input that is not 0;
# - a bias is read for each output, at each step;
# - a membrane is read and written for each neuron, at each step.
#
# Whether a neuron fires or not, its membrane leaks, and must be fetched for that.
#
# ### Exercise 11.4: bytes moved
#
# A number has 32 bits. The layer D_in -> D_out has a bias, and a neuron behind each output.
#
# <details><summary>Hint 1</summary>
#
# `np.count_nonzero(x)` inputs read a row each, of `width_out` numbers of 4 bytes.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# There are `T * N * width_out` outputs, over all steps. Each costs 4 bytes of bias and 8 of membrane.
#
# </details>


# %%
def count_bytes(x, width_out):
    """x: spike counts (T, N, D_in). Returns the bytes of weights, of biases and of membranes."""
    # BEGIN SOLUTION 11.4
    T, N, _ = x.shape
    outputs = T * N * width_out
    return 4 * np.count_nonzero(x) * width_out, 4 * outputs, 8 * outputs
    # END SOLUTION


# %%
moved = checks.ex_11_4(count_bytes).use

# %%
print(inspect.getsource(energy.bytes_moved))
print(inspect.getsource(energy.layer_millijoules))

# %% [markdown]
# This rule leaves out as much as it counts: activations, spikes, embeddings, and every cache. A dense product
# reads a weight once, and keeps it while all tokens use it. Here every token reads it anew, in the dense
# network too. That flatters spikes: it charges their rival for what a dense processor does not do. One layer,
# the up of block 1, shows how much hangs on it.

# %%
weights, biases, membranes = moved(x, 512)
tokens = int(encoded.offsets[-1])
figures = {
    "spikes, each reads its row": weights / len(texts),
    "dense, each token reads all": 4 * tokens * 128 * 512 / len(texts),
    "dense, a sentence reads all once": 4 * 128 * 512,
    "membranes of the spiking layer": membranes / len(texts),
}
plots.bars(
    {"weights, or membranes": {name: value / 1e6 for name, value in figures.items()}},
    title="What one layer moves, by what is read again",
    unit="MB a sentence",
)

# %% [markdown]
# A quarter of this layer's inputs is not 0, and there are four steps: all in all its spikes read as many rows as
# one dense step of all tokens, and many times what a cache would leave of that.
#
# ## 5. What grows with what
#
# ### Exercise 11.5: predict, then run
#
# By which factor does the count grow?
#
# - `"twice the spikes"`: the SOPs of a layer, where twice as many inputs fire;
# - `"twice the steps"`: the same where T doubles, and as many fire in each step as before;
# - `"both widths doubled"`: the same where D_in and D_out double, and the same share fires;
# - `"attention, twice the tokens"`: the MACs of $q\,k^\top$;
# - `"every 1 a 2, literature"`: the energy of the layer by the literature's rule, where every input that was 1
#   becomes 2;
# - `"every 1 a 2, strict"`: the same by the strict rule;
# - `"every 1 a 2, weights read"`: the weights that are read.
#
# <details><summary>Hint 1</summary>
#
# Count spikes, and how many numbers each of them meets.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# By the strict rule a layer of ones has ACs at 0.9 pJ, and a layer of twos as many MACs at 4.6 pJ.
#
# </details>


# %%
def predict_growth():
    """Return a factor under each of the seven names."""
    # BEGIN SOLUTION 11.5
    return {
        "twice the spikes": 2,
        "twice the steps": 2,
        "both widths doubled": 4,
        "attention, twice the tokens": 4,
        "every 1 a 2, literature": 2,
        "every 1 a 2, strict": 4.6 / 0.9,
        "every 1 a 2, weights read": 1,
    }
    # END SOLUTION


# %%
checks.ex_11_5(predict_growth)

# %% [markdown]
# So spikes pay only where few fire in few steps. By price alone, a layer of spikes costs as much as one dense
# step where $r\,T \cdot 0.9 = 4.6$: at T = 4, where an input fires 1.28 times a step on average, which a
# spike, 0 or 1, never does. By this rule spikes cannot lose until T is 6 ($6 \cdot 0.9 > 4.6$).

# %%
dense, width = spikes(1, 10, 128, every=1).size * 512 * 4.6, 512
rates = {every: sops(spikes(4, 10, 128, every=every), width) for every in (1, 2, 4, 8, 16, 32)}
for rate, count in rates.values():
    print(
        f"{rate:6.1%} fire: {0.9 * count / dense:6.1%} of the dense layer in one step (theoretical)"
    )

# %% [markdown]
# ## 6. A whole network
#
# A student costs a few per cent of its teacher. Is that the merit of spikes, or of being small? Two comparisons
# tell: with the teacher, and with **the same network without spikes**, dense and in one step, for a network without
# membranes has nothing to do in a second one.
#
# ### Exercise 11.6: predict, then run
#
# A student of the shipped one's shape, with random weights, costs some share of the same network without
# spikes by the literature's rule. Of its layers, the embedding's projection reads numbers: a window of five
# words, 384 to 128. Is the share `"higher"` or `"lower"` than that,
#
# - `"strict"`, `"with memory"`: by these rules;
# - `"blocks alone"`: where only the two blocks are counted, in both networks;
# - `"of a BERT, 384 wide"`: as a share of a BERT's of 6 blocks, by the literature's rule;
# - `"firing twice as often"`: with twice the spikes everywhere;
# - `"with 4 MACs a neuron and step"`: if the student also pays for its neurons and the layer norm before each.
#
# And which is the `"dearest layer"`, by the literature's rule: `"embedding.projection"`, `"blocks.0.ssa.q"`,
# `"blocks.1.mlp.up"` or `"head"`?
#
# <details><summary>Hint 1</summary>
#
# A share is a quotient. Which of its two numbers changes? The network without spikes has no integers and no
# membranes.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# The projection is dense in both networks: nothing is saved there. It has $5 \cdot 384 \cdot 128$ MACs a token;
# a block has $12 \cdot 128^2$ operations a token and step, of which few per cent fire.
#
# </details>


# %%
def predict_shares():
    """Return "higher" or "lower" under six names, and the layer's under "dearest layer"."""
    # BEGIN SOLUTION 11.6
    return {
        "strict": "higher",
        "with memory": "higher",
        "blocks alone": "lower",
        "of a BERT, 384 wide": "lower",
        "firing twice as often": "higher",
        "with 4 MACs a neuron and step": "higher",
        "dearest layer": "embedding.projection",
    }
    # END SOLUTION


# %%
checks.ex_11_6(predict_shares)

# %% [markdown]
# And the trained student, layer by layer. (`spikebert energy` prints the same for any run and any corpus.)

# %%
layers = operations.count_student(cache)
each = {layer.name: energy.layer_millijoules(layer) for layer in layers}
plots.bars(
    {
        title: {name: 1e3 * energies[rule] for name, energies in each.items()}
        for rule, title in energy.RULES.items()
    },
    title="The shipped student, by layer and rule (theoretical)",
    unit="µJ a sentence",
)

# %%
from spikebert_np.analysis.energy_table import comparison_table, left_out

networks = {
    "the same without spikes": operations.without_spikes(layers),
    "MiniLM (6 blocks, 384 wide)": operations.count_bert(
        encoded.offsets, depth=6, width=384, mlp_width=1536
    ),
}
print(comparison_table(layers, networks))
print()
print(left_out(layers))

# %% [markdown]
# Read the last paragraph twice. "Neurons are of a lower order" is true of a dense network: each output is a
# sum of hundreds of products. Where a few per cent fire, an output is a sum of a few additions, and its
# neuron and layer norm are no longer little beside that.
#
# ## 7. Find what is wrong
#
# ### Exercise 11.7: a paper's calculation
#
# A spiking network like ours, T = 4, 128 wide, MLP 512, 4 heads, is compared with a BERT. Seven lines of the
# calculation, each right or wrong in one way. Answer each line with one of the choices.

# %%
for line, text in PAPER.items():
    print(f"{line}: {text}")
print()
for choice, meaning in CHOICES.items():
    print(f"{choice:20} {meaning}")

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Ask of each line: what does the layer read? How many times is T in it? Who reads which sentences?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Two lines are right. In line 3 "over the 4 steps together" holds a T already, and the 4 is another: it is
# "T twice".
#
# </details>


# %%
def find_mistakes():
    """Return one of the choices under "line 1" to "line 7"."""
    # BEGIN SOLUTION 11.7
    return {
        "line 1": "numbers as spikes",
        "line 2": "right",
        "line 3": "T twice",
        "line 4": "heads twice",
        "line 5": "integers as spikes",
        "line 6": "two lengths",
        "line 7": "right",
    }
    # END SOLUTION


# %%
checks.ex_11_7(find_mistakes)

# %% [markdown]
# ## 8. And what does a processor say?
#
# Now measure. The student reads the same sentences on this machine in four ways, by turns, on one thread: with
# products that add up only what fires (event-driven), with dense products, dense in a single step (about what
# the same network without spikes would cost), and beside them a BERT of MiniLM's sizes, in NumPy too. We take the seconds of
# the processor; where a machine counts joules, `spikebert energy --measure` reads them.

# %%
from types import SimpleNamespace

from spikebert_np.benchmarks.energy import SIDES, measure_energy
from spikebert_np.models.bert import BertConfig
from spikebert_np.training.pretrain_teacher import init_bert

sizes = {"vocab_size": 30522, "width": 384, "depth": 6, "heads": 12, "mlp_width": 1536}
config = BertConfig(**sizes, max_positions=512, token_types=2, norm_eps=1e-12)
# Random weights: what they are changes nothing about how long a product takes.
teacher = SimpleNamespace(
    config=config, params=init_bert(config, np.random.default_rng(0)), encoded=encoded
)
student = SimpleNamespace(config=run.config, params=run.params, encoded=encoded)
spent = measure_energy(student, teacher, None, sentences=32, rounds=5)
own = energy.millijoules(layers)["literature"]
dense, bert = (energy.millijoules(network)["literature"] for network in networks.values())
all_steps = energy.energy_millijoules(sum(layer.steps * layer.operations for layer in layers), 0)
theory = {"events": own, "dense": all_steps, "one_step": dense, "teacher": bert}  # mJ
here = {side: 1e3 * spent[side]["cpu_seconds"] for side in theory}  # ms
plots.bars(
    {
        "theoretical: literature, µJ": {SIDES[side]: 1e3 * theory[side] for side in theory},
        "here: CPU ms": {SIDES[side]: here[side] for side in theory},
    },
    title="What a sentence costs, in theory and on this machine",
    unit="a sentence",
)

# %%
for than, side in (("the teacher", "teacher"), ("itself without spikes", "one_step")):
    saving = theory[side] / theory["events"], here[side] / here["events"]
    print(f"times less than {than:22} theoretical {saving[0]:5.1f}, here {saving[1]:5.1f}")

# %% [markdown]
# Where this was written, the student cost a fifth of the teacher's time, where theory says a fortieth; and the
# second line was *below 1*: four steps of spikes cost this processor more than one dense step of numbers.
# A processor multiplies as cheaply as it adds, moves the same bytes for both, and likes its numbers in a row. What
# was kept of the saving was that the student is small.
#
# That is no argument against spikes. It is one against reading a theoretical figure as a measured one: it
# is of a machine that has not been built for this network, and that pays nothing for memory, membranes,
# norms or finding out who fired.
#
# ## What to take along
#
# - Count spikes times fan-out. Rates times T times operations is the same, with more places to slip.
# - Numbers are MACs: the embedding's projection, the classifier, and, strictly, the residual's integers.
# - Say which rule, which sentences, which dense network; and compare with the same network without
#   spikes, or a small network's saving is taken for that of spikes.
# - Write "theoretical" beside every such figure. Where you can, measure.
