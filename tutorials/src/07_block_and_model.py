# %% [markdown]
# # 07 The block and the whole student
#
# All parts are there: linear layer and layer norm (chapter 01), LIF neuron (02 to 04), embedding and
# encoder (05), attention (06). This chapter puts them together. Nothing new is derived. But parts that are
# right can be put together wrongly, and nearly all that can go wrong goes wrong where two paths meet.
#
# **After this chapter you can** write the backward pass of a spiking unit, of a block and of the whole
# student from those of their parts, say what a residual does to spikes and to gradients, and check a whole
# network.
#
# **Time** about 50 minutes, seven exercises. **You need** the chain rule, and what a linear layer, a layer
# norm and a LIF neuron do. Their backward passes are given here, and called by name.
#
# How the exercises work: you write a function in place of `raise NotImplementedError(...)`, and run the
# cell below it. It prints a table, a verdict and, where something is wrong, the likely mistake. If you skip
# an exercise, the chapter goes on with our own answer.

# %%
import inspect

import numpy as np

from spikebert_np.analysis import block_plots
from spikebert_np.analysis import neuron_plots as plots
from spikebert_np.blocks import classifier_head, encoder_block, spiking_linear
from spikebert_np.blocks.distillation_tap import distillation_tap_backward
from spikebert_np.blocks.mlp import mlp_backward
from spikebert_np.blocks.spike_input import spike_input_backward
from spikebert_np.blocks.ssa import ssa_backward
from spikebert_np.checking import chapter_07 as chapter
from spikebert_np.checking import exercises as checks
from spikebert_np.checking.bug_hunt import show_bugs
from spikebert_np.checking.chapter_07 import BLOCKS, BUGS
from spikebert_np.checking.gradcheck import check_gradients
from spikebert_np.layers import parameters
from spikebert_np.layers.layernorm import layernorm_backward
from spikebert_np.layers.lif import LIFNeuron, lif_backward
from spikebert_np.layers.linear import linear_backward
from spikebert_np.layers.parameters import select, with_prefix
from spikebert_np.models import spikebert
from spikebert_np.models.spikebert import SpikeBertConfig, init_spikebert, spikebert_forward

# %% [markdown]
# ## 1. The unit: linear, layer norm, LIF
#
# SpikeBERT is made of one unit, used six times in each block:
#
# $$z = x\,W + b, \qquad y = \text{layer norm}(z), \qquad s = \text{LIF}(y).$$
#
# $x$ are spikes, (T, N, D_in): T steps, N words of all sentences end to end, D_in neurons. $z$ are sums of
# rows of $W$, large or small as more or fewer neurons fire. The layer norm makes currents of a spread of 1
# of them, which is the threshold's own size (chapter 05). And the neurons make spikes again.
#
# Backward, a chain is walked in reverse, each part with its own backward pass:
#
# $$ds \;\to\; dy \;\to\; dz \;\to\; dx .$$
#
# On the way each part leaves behind the gradients of its parameters.
#
# ### Exercise 7.1: write a backward pass
#
# Call these three, each once, with the cache of its part, `cache.lif`, `cache.norm`, `cache.linear`:
#
# - `lif_backward(ds, cache)` returns dx;
# - `layernorm_backward(dy, cache)` returns dx, dgain, dbias;
# - `linear_backward(dy, cache)` returns dx, dweight, dbias.
#
# Return $dx$, and a dict with the keys of the parameters: `weight`, `bias`, `norm.gain`, `norm.bias`.
#
# <details><summary>Hint 1</summary>
#
# The last part of the forward pass comes first. What it returns is the next one's upstream.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `dy = lif_backward(ds, cache.lif)`, then `dz, dgain, dbias = ...` of `dy`, then the linear layer's three
# of `dz`. There are two biases: `bias` is the linear layer's, `norm.bias` the layer norm's.
#
# </details>


# %%
def spiking_linear_backward(ds, cache):
    """ds: (T, N, D_out). Returns dx (T, N, D_in) and the dict of parameter gradients."""
    # BEGIN SOLUTION 7.1
    dy = lif_backward(ds, cache.lif)
    dz, dgain, dbias = layernorm_backward(dy, cache.norm)
    dx, dweight, dlinear_bias = linear_backward(dz, cache.linear)
    return dx, {"weight": dweight, "bias": dlinear_bias, "norm.gain": dgain, "norm.bias": dbias}
    # END SOLUTION


# %%
checks.ex_07_1(spiking_linear_backward)

# %% [markdown]
# Ours. It has a compiled twin of the upper two parts, batch norm for a comparison, and `dspike`, of a
# penalty on firing: all three can be passed over.

# %%
print(inspect.getsource(spiking_linear.spiking_linear_forward))
print(inspect.getsource(spiking_linear.spiking_linear_backward))

# %% [markdown]
# ## 2. The residual makes integers
#
# A block has two parts, attention (`ssa`, chapter 06, four units and a neuron) and an MLP (`mlp`, two
# units, wide in the middle). Neither replaces $x$. Each *adds* to it:
#
# $$x \leftarrow x + \text{ssa}(x), \qquad x \leftarrow x + \text{mlp}(x).$$
#
# $\text{ssa}(x)$ and $\text{mlp}(x)$ are spikes, 0 or 1. Their sum with $x$ is not: where both fired it is 2.
# So what flows from block to block are **counts**, whole numbers from 0 up. The next linear layer then adds
# a row of $W$ not once but as often as the count says.
#
# ### Exercise 7.2: predict, then run
#
# One word, one step, four neurons. $x = (1, 0, 1, 0)$; ssa sends $(1, 1, 0, 0)$, mlp then sends
# $(1, 0, 0, 0)$.
#
# - `"after ssa"` and `"after mlp"`: what $x$ becomes, four numbers each;
# - `"x W"`: the product of what comes after mlp with $W$, whose rows are $(0.5, -1)$, $(2, 2)$, $(1, 0)$,
#   $(4, -4)$: two numbers;
# - `"most after 2 blocks"` and `"most after 12 blocks"`: the largest count that any neuron can have there,
#   at one step. The encoder sends 0 or 1.
#
# <details><summary>Hint 1</summary>
#
# Add neuron by neuron. For the product, take each row of $W$ as often as its count says.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# $3 \cdot (0.5, -1) + (2, 2) + (1, 0)$. And a block adds at most two spikes to a neuron: one behind ssa,
# one behind mlp.
#
# </details>


# %%
def integers_by_hand():
    """Return lists of numbers, or a number, under the five names above."""
    # BEGIN SOLUTION 7.2
    return {
        "after ssa": [2, 1, 1, 0],
        "after mlp": [3, 1, 1, 0],
        "x W": [4.5, -1],
        "most after 2 blocks": 5,
        "most after 12 blocks": 25,
    }
    # END SOLUTION


# %%
checks.ex_07_2(integers_by_hand)

# %% [markdown]
# In a student of eight blocks with random weights and a threshold of 0.5, on twenty sentences:

# %%
cache, dlogits = chapter.deep_student(v_th=0.5)
stops = {"encoder": cache.blocks[0].ssa.q.linear.x}
stops |= {f"block {i}": cache.blocks[i].ssa.q.linear.x for i in range(1, BLOCKS)}
block_plots.count_shares(stops, title="x behind the encoder is spikes, behind each block counts")

# %% [markdown]
# (Counted from 1: what is behind block 8 is read by the head.)
#
# - So a "spiking" student's linear layers, behind the encoder, multiply by small whole numbers, which is to
#   add a row more than once. "Additions alone" is true of them, "zeros and ones alone" is not. Chapter 11
#   counts.
# - The counts grow with depth. The layer norm in each unit takes the size out again: without it the
#   currents would grow from block to block.

# %% [markdown]
# ## 3. Where paths meet, gradients add
#
# In $y = x + f(x)$ two paths lead from $x$ to $y$: the straight one, and the one through $f$. A small
# change of $x$ goes along both, so the gradients of both add up:
#
# $$dx = dy + J_f^\top dy ,$$
#
# where $J_f^\top dy$ is what $f$'s backward pass makes of $dy$. A block has two such sums, one after the
# other. Name the middle $m$:
#
# $$m = x + \text{ssa}(x), \qquad y = m + \text{mlp}(m).$$
#
# ### Exercise 7.3: write a backward pass
#
# Return $dx$ and the dict of all gradients. `ssa_backward(ds, cache.ssa)` and `mlp_backward(ds, cache.mlp)`
# each return dx and a dict of their own keys; `with_prefix(grads, "ssa.")` puts a prefix before each key,
# and `|` joins two dicts.
#
# <details><summary>Hint 1</summary>
#
# Two steps, the second sum first: $dm$ from $dy$, then $dx$ from $dm$. Each has two terms.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# $dm = dy + {}$ what mlp makes of $dy$; $dx = dm + {}$ what ssa makes of $dm$, and not of $dy$: ssa's
# spikes reached the output by way of $m$.
#
# </details>


# %%
def encoder_block_backward(dy, cache):
    """dy: (T, N, D). Returns dx (T, N, D) and the dict of parameter gradients."""
    # BEGIN SOLUTION 7.3
    dm_mlp, dmlp = mlp_backward(dy, cache.mlp)
    dm = dy + dm_mlp
    dx_ssa, dssa = ssa_backward(dm, cache.ssa)
    return dm + dx_ssa, with_prefix(dmlp, "mlp.") | with_prefix(dssa, "ssa.")
    # END SOLUTION


# %%
checks.ex_07_3(encoder_block_backward)

# %% [markdown]
# Ours:

# %%
print(inspect.getsource(encoder_block.encoder_block_forward))
print(inspect.getsource(encoder_block.encoder_block_backward))

# %% [markdown]
# ## 4. The gradient's way down
#
# Through eight blocks the gradient passes sixteen sums. Multiply out, with $F_i$ for the backward pass of
# the $i$-th part:
#
# $$dx = (1 + F_1)(1 + F_2) \cdots (1 + F_{16})\,dy .$$
#
# Without the straight paths it would be $F_1 F_2 \cdots F_{16}\,dy$: sixteen small slopes, multiplied. With
# them there is always the 1.
#
# Below is the size of $dx$, above the last block and below each one, down to the encoder. It is a power of
# ten: $-2$ is 0.01. The three lines are, in another order,
#
# - the student of section 2, as it is;
# - the same, its straight paths cut on the way back;
# - the same with a threshold of 1. There about one in nine rows (a step of a word) is **silent**: neither
#   the encoder nor any block has fired, $x = 0$. The line is the gradient in these rows alone.
#
# What is it about silent rows? A layer norm divides by the spread of what it is given, and so does its
# gradient. In a silent row a unit is given $z = 0 \cdot W + b$, the bias alone, whose spread is small. The
# head's layer norm is given zeros, and divides by $\sqrt{\varepsilon} = 0.003$.

# %%
norms = chapter.gradient_norms()
plots.curves(
    range(BLOCKS + 1),
    {name: np.log10(values) for name, values in norms.items()},
    title="The size of dx on its way down",
    xlabel="blocks passed, from the head to the encoder",
    ylabel="norm of dx (power of ten)",
)

# %% [markdown]
# ### Exercise 7.4: read a plot
#
# - `"cut"`: the line of the student whose straight paths are cut, `"A"`, `"B"` or `"C"`;
# - `"silent"`: the line of the silent rows;
# - `"a block takes, cut"`: how many powers of ten a block takes from the gradient where they are cut, on
#   the mean;
# - `"below block 1, C"`: the power of ten of line C after all eight blocks.
#
# All numbers to a fifth of their size.
#
# <details><summary>Hint 1</summary>
#
# Which line falls, as a product of small numbers does? Which rises, as a quotient by small numbers does?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Divide the whole fall, from left to right, by eight. Line C ends a little above $-2$.
#
# </details>


# %%
def read_norms():
    """Return two letters and two numbers under the four names above."""
    # BEGIN SOLUTION 7.4
    return {"cut": "B", "silent": "A", "a block takes, cut": 2.4, "below block 1, C": -1.8}
    # END SOLUTION


# %%
checks.ex_07_4(read_norms)

# %% [markdown]
# Each block takes a factor of some 300 where the straight path is cut. With it, next to nothing is lost.
#
# And the silent rows? In the student with a threshold of 1 they are few, and nearly the whole gradient is
# theirs:

# %%
for v_th in (0.5, 1.0):
    cache, dlogits = chapter.deep_student(v_th)
    dx = chapter.walk(cache, dlogits, chapter.right)[-1]
    silent = chapter.silent_rows(cache)
    parts = [np.linalg.norm(dx[rows]) for rows in (silent, ~silent)]
    print(f"threshold {v_th}: {silent.mean():.0%} of the rows silent,", end=" ")
    print("norm of dx there {:.2g}, elsewhere {:.2g}".format(*parts))

# %% [markdown]
# A step along that gradient is a step for the sake of rows that say nothing. Clipping by the norm of the
# whole then wipes out the rest. A threshold of 0.5, for one, leaves no row silent.

# %% [markdown]
# ## 5. The head
#
# From counts to logits, in four steps. Sentence $b$ has $n_b$ words:
#
# $$
# \begin{aligned}
# u &= \text{layer norm}(x) && (T, N, D)\\
# p[t, b] &= \tfrac{1}{n_b} \textstyle\sum_{n \in b} u[t, n] && (T, B, D)\\
# l &= p\,W + c && (T, B, C)\\
# \text{logits}[b] &= \tfrac1T \textstyle\sum_t l[t, b] && (B, C)
# \end{aligned}
# $$
#
# ### Exercise 7.5: derive, then implement
#
# Which part of $d\text{logits}[b]$ does each $l[t, b]$ get? And which part of $dp[t, b]$ each word's
# $u[t, n]$? Write the backward pass. The two means are yours, in NumPy: `cache.time.steps` is T, and
# `cache.pool.lengths` holds the $n_b$, (B,). Use `linear_backward(dl, cache.linear)` and
# `layernorm_backward(du, cache.norm)`.
#
# <details><summary>Hint 1</summary>
#
# A mean of $k$ numbers gives each of them $\tfrac1k$ of its gradient. There is no sum to be taken: one
# number becomes many.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `np.broadcast_to(a, (T, *a.shape))` puts T copies of `a` on a new first axis.
# `np.repeat(a, lengths, axis=1)` repeats entry $b$ of axis 1 $n_b$ times, which lays the sentences' words
# end to end; divide by `lengths[:, None]` before.
#
# </details>


# %%
def classifier_head_backward(dlogits, cache):
    """dlogits: (B, C). Returns dx (T, N, D) and a dict: weight, bias, norm.gain, norm.bias."""
    # BEGIN SOLUTION 7.5
    steps, lengths = cache.time.steps, cache.pool.lengths
    dl = np.broadcast_to(dlogits / steps, (steps, *dlogits.shape))
    dp, dweight, dbias = linear_backward(dl, cache.linear)
    du = np.repeat(dp / lengths[:, None], lengths, axis=1)
    dx, dgain, dnorm_bias = layernorm_backward(du, cache.norm)
    return dx, {"weight": dweight, "bias": dbias, "norm.gain": dgain, "norm.bias": dnorm_bias}
    # END SOLUTION


# %%
checks.ex_07_5(classifier_head_backward)

# %% [markdown]
# Ours, with each mean in a function of its own, and a dropout that is idle where its rate is 0:

# %%
print(inspect.getsource(classifier_head.classifier_head_forward))
print(inspect.getsource(classifier_head.classifier_head_backward))

# %% [markdown]
# The last three steps could change places: two means and a linear layer give the same logits in any
# order. Layer norm and mean over the words could not.

# %% [markdown]
# ## 6. Parameters: a flat dict
#
# There is no class of parameters. They lie in one dict, under dotted keys that say where they belong.
# `select` hands a part its own, `with_prefix` puts the gradients back under their full names. So a gradient
# has the key of its parameter, and an optimiser is a loop over keys.

# %%
print(inspect.getsource(parameters))
config = SpikeBertConfig(
    vocab_size=9, width=6, heads=2, blocks=2, embedding_width=4, teacher_width=5
)
params = init_spikebert(config, np.random.default_rng(7))
for prefix in ("embedding.", "blocks.0.", "blocks.1.", "taps.", "head."):
    own = select(params, prefix)
    print(f"{prefix:11} {len(own):2} arrays, {sum(map(np.size, own.values())):4} numbers")
print(*select(params, "blocks.0.mlp."), sep="\n")

# %% [markdown]
# ## 7. The whole student
#
# One path, and beside it the **taps**: after each block, $x$ is read a second time, by a small layer whose
# output is compared with the teacher's features (chapter 08). In an outline:
#
# ```
# x = spikes of the words
# for i in 0, 1, ..., blocks - 1:
#     x = block i of x
#     tap i = taps i of x        x is read twice: here, and by what follows
# logits = head of x
# ```
#
# So $x$ behind block $i$ has two readers: tap $i$, and whatever comes next, a block or the head. Where
# paths meet, gradients add.
#
# ### Exercise 7.6: write a backward pass
#
# `dlogits` is (B, C); `dtaps` a list, a (N, D_teacher) for each block. `cache.head`, `cache.blocks[i]`,
# `cache.taps[i]` and `cache.input` belong to the parts. Return one dict with all gradients, with the
# prefixes `head.`, `blocks.0.` and so on, `taps.0.` and so on, `embedding.`. You have
#
# - `head_back(dlogits, cache)`, `block_back(dx, cache)` and `distillation_tap_backward(dtap, cache)`, each
#   of which returns dx and a dict. The first two are ours, for the checker's student has a dropout in its
#   head;
# - `spike_input_backward(dx, cache)`, which returns a dict alone: words have no gradient.
#
# <details><summary>Hint 1</summary>
#
# Read the outline from below. `dx` starts with what the head returns. The blocks come last first:
# `reversed(range(...))`.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# In the loop: the tap's gradient is added to `dx` first, for tap $i$ reads what block $i$ has made. Then
# `dx` goes back through block $i$. After each call `dparams |= with_prefix(grads, f"blocks.{i}.")`.
#
# </details>

# %%
head_back = classifier_head.classifier_head_backward
block_back = encoder_block.encoder_block_backward


# %%
def spikebert_backward(dlogits, dtaps, cache):
    """Returns the dict of all parameter gradients."""
    # BEGIN SOLUTION 7.6
    dx, grads = head_back(dlogits, cache.head)
    dparams = with_prefix(grads, "head.")
    for i in reversed(range(len(cache.blocks))):
        dx_tap, grads = distillation_tap_backward(dtaps[i], cache.taps[i])
        dparams |= with_prefix(grads, f"taps.{i}.")
        dx, grads = block_back(dx + dx_tap, cache.blocks[i])
        dparams |= with_prefix(grads, f"blocks.{i}.")
    return dparams | with_prefix(spike_input_backward(dx, cache.input), "embedding.")
    # END SOLUTION


# %%
student_back = checks.ex_07_6(spikebert_backward).use

# %% [markdown]
# The checker has moved each array along one random direction, and not each entry by itself: for a whole
# network that is what one can afford. Ours also takes students without taps, and losses that read no
# logits:

# %%
print(inspect.getsource(spikebert.spikebert_forward))
print(inspect.getsource(spikebert.spikebert_backward))

# %% [markdown]
# Do it once yourself, as for a network of your own. What is needed (chapter 00 and 04): float64; the smooth
# twin of every neuron, `spiking=False`; the detached resets held, `frozen`, by the spikes of a first run;
# no $\tau = 2$, no gains of 1, no biases of 0; neurons that fire, also behind attention (hence the scale);
# and a random upstream on all outputs, logits and taps end to end. The bound is 1e-5: rounding and
# truncation add up from layer to layer.

# %%
rng = np.random.default_rng(10)
config = SpikeBertConfig(
    vocab_size=9, width=6, heads=2, blocks=2, embedding_width=4, teacher_width=5, scale=0.7,
    dropout=0.0, neuron=LIFNeuron(tau=3.0, v_th=0.4, spiking=False),
)  # fmt: skip
params = {k: v + 0.3 * rng.standard_normal(v.shape) for k, v in init_spikebert(config, rng).items()}
ids, offsets = rng.integers(0, 9, 7), np.array([0, 4, 5, 7])  # three sentences, seven words
_, trace = spikebert_forward(ids, offsets, params, config, backend="numpy")


def forward(params):
    """Logits (3, 2) and two taps (7, 5), end to end."""
    output, cache = spikebert_forward(ids, offsets, params, config, backend="numpy", frozen=trace)
    return np.concatenate([output.logits.ravel(), *map(np.ravel, output.taps)]), cache


def backward(dy, cache):
    """The gradient of the one argument, params."""
    dlogits, *dtaps = np.split(dy, [6, 6 + 35])
    return (student_back(dlogits.reshape(3, 2), [d.reshape(7, 5) for d in dtaps], cache),)


report = check_gradients(forward, backward, params, directional=True, bound=1e-5)
worst = max(report.rows, key=lambda row: row.error)
print(f"{len(report.rows)} arrays, passed: {report.passed}")
print(f"the largest error, {worst.error:.0e}, is that of {worst.name}")

# %% [markdown]
# ## 8. Find the bug
#
# ### Exercise 7.7: find the bug
#
# Four wrong backward passes: of the MLP, of a block, of a unit, of a tap (mean over T, linear, layer norm).
# What they call is right. `unit_gradients(dz, dgain, dbias, cache)` goes from the linear layer's output
# down, and makes the dict.
#
# <details><summary>Hint 1</summary>
#
# For each, write down the chain from the output to $x$, and tick off what the code calls, with which
# gradient.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# In B both parts are given `dy`, and both results are added to it. For mlp that is right. But ssa's spikes
# reached the output by way of $m$, so it is due $dm$: B is "fed the block's own upstream: ssa".
#
# </details>

# %%
show_bugs(BUGS)


# %%
def find_bugs():
    """Return the mistake of each: {"A": "...", "B": "...", "C": "...", "D": "..."}."""
    # BEGIN SOLUTION 7.7
    return {
        "A": "left out: lif",
        "B": "fed the block's own upstream: ssa",
        "C": "nothing carried back",
        "D": "variance term missing",
    }
    # END SOLUTION


# %%
checks.ex_07_7(find_bugs)

# %% [markdown]
# ## 9. The published model has no positions
#
# `SpikeBertConfig.original` is the published student: the sign of the embedding for an encoder, no
# projection, no positions, no windows. Then no part reads where a word stands (chapter 06), and the head
# takes a mean over the words. So the words may come in any order. Ours reads positions and neighbours. Five
# words as written, and reversed:

# %%
shape = {"vocab_size": 9, "width": 16, "heads": 2}
for name, config in (
    ("published", SpikeBertConfig.original(**shape)),
    ("ours", SpikeBertConfig(**shape)),
):
    params = init_spikebert(config, np.random.default_rng(9))
    words = np.array([1, 3, 5, 7, 2])
    for order in (words, words[::-1]):
        output, _ = spikebert_forward(order, np.array([0, 5]), params, config, backend="numpy")
        print(f"{name:10}", output.logits[0])

# %% [markdown]
# ## What to take along
#
# - A chain is walked in reverse. Each part gets the gradient of *its own* output, and leaves behind those
#   of its parameters.
# - A residual sums spikes to counts, 0 to $1 + 2 \cdot \text{blocks}$. The layer norm of the next unit
#   takes the size out.
# - Where paths meet, gradients add: at residuals, at q, k and v, at taps, over time, over repeated words.
# - The straight path carries the gradient down whole. In silent rows a layer norm blows it up.
# - A mean of $k$ gives each $\tfrac1k$. A flat dict of dotted keys holds parameters and gradients.
# - A whole network is checked as a layer is: the smooth twin, resets held, one direction an array.
