# %% [markdown]
# # 06 Spiking self-attention: words that look at words
#
# In a linear layer, a layer norm and a LIF neuron every word is alone. Attention is where words meet.
# Spiking attention is two matrix products and nothing between them, and this makes it easy: to write, to
# go back through, and to take apart. BERT's has a softmax between the two. We build the first and hold it
# beside the second.
#
# **After this chapter you can** write spiking self-attention and its backward pass for one sentence, say
# why N x N and D x D are the same sum, say what it knows of word order, and what softmax would add.
#
# **Time** about 70 minutes, seven exercises. **You need** NumPy, `@` on stacks of matrices among it, and
# the chain rule for a matrix product, which is repeated here. A LIF neuron (chapter 02) is a box here.
#
# How the exercises work: you write a function in place of `raise NotImplementedError(...)`, and run
# the cell below it. It prints a table, a verdict and, where something is wrong, the likely mistake.
# If you skip an exercise, the chapter goes on with our own answer.

# %%
import inspect

import numpy as np

from spikebert_np.analysis import attention_cost
from spikebert_np.analysis import neuron_plots as plots
from spikebert_np.blocks import self_attention, ssa
from spikebert_np.blocks.ssa import join_heads, split_heads
from spikebert_np.checking import exercises as checks
from spikebert_np.checking.bug_hunt import show_bugs
from spikebert_np.checking.chapter_06 import (
    BUGS,
    KEY,
    ORDER,
    QUERY,
    VALUE,
    WORDS,
    bert_sentence,
    student_logits,
)

# %% [markdown]
# ## 1. One sentence by hand
#
# Each word sends three rows of spikes: a **query** $q$, what it asks for; a **key** $k$, what it offers;
# and a **value** $v$, what it hands over to whoever looks at it. In a network these are learned. Here is a
# sentence of five words with spikes set by hand, in four channels. Those of $q$ and $k$ mean a noun, a
# negation, a quality, an opinion. Those of $v$ have meanings of their own; here they only show whose value
# arrived.
#
# | word | asks for ($q$) | offers ($k$) | hands over ($v$) |
# |---|---|---|---|
# | the | a noun | | 1 0 0 0 |
# | plot | a quality | a noun | 0 1 0 0 |
# | is | | | 1 1 0 0 |
# | not | a quality, an opinion | a negation, an opinion | 0 0 1 0 |
# | good | a noun, a negation | a quality, an opinion | 0 0 0 1 |
#
# How well does what word $i$ asks for meet what word $j$ offers? Count the channels in which both fire:
#
# $$a_{ij} = \sum_e q_{ie}\,k_{je}, \qquad\text{that is}\qquad A = q\,k^\top .$$
#
# $A$ is n x n for a sentence of n words. This is the **attention map**. Then each word adds up the values
# of the words it looks at, each as often as $A$ says, times one fixed number, the scale:
#
# $$y = (q\,k^\top)\,v \cdot \text{scale}.$$
#
# That is all: no softmax, no division.
#
# ### Exercise 6.1: predict, then run
#
# With pencil and paper: the rows of $A$ of *not* and of *good* (five numbers each, in the order of the
# words), and $y$ of *is* and of *not* (four numbers each) at a scale of 0.5.
#
# <details><summary>Hint 1</summary>
#
# Row *not*: take its query, "a quality, an opinion", and go through the keys of all five words, *not*
# itself among them. How many channels do the two have in common?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# *not* meets itself in one channel and *good* in two. So its $y$ is half of
# $1 \cdot v_\text{not} + 2 \cdot v_\text{good}$. And how many words does *is* look at?
#
# </details>


# %%
def by_hand():
    """Return lists under "row of not", "row of good", "y of is" and "y of not"."""
    # BEGIN SOLUTION 6.1
    return {
        "row of not": [0, 0, 0, 1, 2],
        "row of good": [0, 1, 0, 1, 0],
        "y of is": [0, 0, 0, 0],
        "y of not": [0, 0, 0.5, 1],
    }
    # END SOLUTION


# %%
checks.ex_06_1(by_hand)

# %% [markdown]
# The whole map. Read a row: *not* looks at *good*, *good* at *plot* and *not*. A row may be empty: *is* asks
# for nothing.

# %%
counts = QUERY[0] @ KEY[0].T
unit = "channels that query and key have in common"
plots.attention_maps({"q kᵀ": (counts, unit)}, WORDS, title="Who looks at whom")

# %% [markdown]
# ## 2. One sentence in code
#
# Two more axes. There are $T$ time steps, and each has its own map: attention does not mix steps. And there
# are $H$ **heads**: the $D$ channels are cut into $H$ groups of $E = D / H$, and each group makes a map of its
# own, so that a word can look at one place for its noun and at another for its negation.
#
# `split_heads(x, heads)` makes (T, n, D) into (T, H, n, E), and `join_heads(x)` goes back. `@` multiplies the
# matrices of the last two axes, for each step and head.
#
# ### Exercise 6.2: write it
#
# $$y = \text{join}\bigl((q\,k^\top)\,v\bigr) \cdot \text{scale},\qquad\text{per step and head}$$
#
# <details><summary>Hint 1</summary>
#
# Split all three first. The transpose is of the last two axes alone: `x.swapaxes(-1, -2)`. (`x.T` turns all
# four round.)
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `a = q @ k.swapaxes(-1, -2)` is the map, (T, H, n, n). Its product with `v` is (T, H, n, E). What is asked for
# is (T, n, D), and one factor is still missing.
#
# </details>


# %%
def spiking_attention(q, k, v, heads, scale):
    """q, k, v: (T, n, D), spikes of one sentence. Returns y (T, n, D)."""
    # BEGIN SOLUTION 6.2
    q, k, v = split_heads(q, heads), split_heads(k, heads), split_heads(v, heads)
    a = q @ k.swapaxes(-1, -2)
    return join_heads(a @ v) * scale
    # END SOLUTION


# %%
attend = checks.ex_06_2(spiking_attention).use

# %% [markdown]
# Ours, between the split and the join (`x.mT` is NumPy's short form of `x.swapaxes(-1, -2)`), and the map alone:

# %%
print(inspect.getsource(ssa.by_words_forward))
print(inspect.getsource(ssa.attention_map))

# %% [markdown]
# ## 3. N x N and D x D are the same sum
#
# Write $y$ of one head as a sum (the scale left out):
#
# $$y_{ic} = \sum_j a_{ij}\,v_{jc} = \sum_j \sum_e q_{ie}\,k_{je}\,v_{jc}.$$
#
# Two finite sums over one product. Nothing says which comes first. Sum over the channels $e$ first, and you
# get the n x n map over words. Sum over the words $j$ first, and you get a matrix over channels, E x E (D x D
# where there is one head), a **summary** of the sentence that every query then reads:
#
# $$(q\,k^\top)\,v = q\,(k^\top v).$$
#
# ### Exercise 6.3: derive, then implement
#
# Write the sum over $j$ as a product of two matrices, and $y$ from it. Return both, the summary without the
# scale. The checker compares your $y$ with that of the n x n map.
#
# <details><summary>Hint 1</summary>
#
# $\text{summary}_{ec} = \sum_j k_{je}\,v_{jc}$. Which of the two has to be transposed for `@`?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `k.swapaxes(-1, -2) @ v` is (T, H, E, E). Then $y_{ic} = \sum_e q_{ie}\,\text{summary}_{ec}$: one more `@`, and
# the end is that of exercise 6.2.
#
# </details>


# %%
def channels_first(q, k, v, heads, scale):
    """q, k, v: (T, n, D), of one sentence. Returns the summary (T, H, E, E) and y (T, n, D)."""
    # BEGIN SOLUTION 6.3
    q, k, v = split_heads(q, heads), split_heads(k, heads), split_heads(v, heads)
    summary = k.swapaxes(-1, -2) @ v
    return summary, join_heads(q @ summary) * scale
    # END SOLUTION


# %%
by_channels = checks.ex_06_3(channels_first).use

# %% [markdown]
# Are they equal to rounding, or to the last bit? On 0/1 spikes all sums are whole numbers, which a computer
# adds without error: to the last bit. On other numbers, to rounding.

# %%
rng = np.random.default_rng(6)
spikes = (rng.random((3, 4, 20, 128)) < 0.1) * 1.0
numbers = rng.standard_normal((3, 4, 20, 128))
for name, (q, k, v) in {"spikes": spikes, "numbers": numbers}.items():
    by_words, (_, other) = attend(q, k, v, 8, 0.125), by_channels(q, k, v, 8, 0.125)
    same, apart = np.array_equal(by_words, other), np.abs(by_words - other).max()
    print(f"{name}: equal to the last bit: {same}, largest difference {apart:.0e}")

# %% [markdown]
# The SpikeBERT paper says that it turns the D x D map of the model for pictures into an N x N map over words (its N
# is our n). A
# D x D form such as $v\,(q^\top k)$ is the one you have just written, with the letters renamed. So the turn
# changes what one can *read* (who looks at whom, which no summary shows) and what it *costs*, but not what it can
# compute.
#
# The cost: $q\,k^\top$ takes $n^2 E$ multiply-adds a head and step, and the product with $v$ as many again. The
# other order takes $n E^2$, twice. The counts are equal at $n = E$. Twice the words are four times the work by
# words, and twice the work by channels. For short sentences the count is not all: to start a small product takes
# time too. Measured on your machine, with $E = 16$:

# %%
print(inspect.getsource(ssa.by_channels_forward))
costs = attention_cost.attention_costs((4, 8, 16, 32, 64, 128), width=128, heads=8)
plots.curves(
    [cost.tokens for cost in costs],
    {
        "(q kᵀ) v, by words": [cost.by_words for cost in costs],
        "q (kᵀ v), by channels": [cost.by_channels for cost in costs],
    },
    title="Two orders of one sum, 4 steps, 8 heads, E = 16",
    xlabel="words of the sentence n",
    ylabel="CPU time (ms)",
    log=True,
    xticks=[cost.tokens for cost in costs],
)

# %% [markdown]
# So the model compares $n$ with $E$, and puts the brackets where they cost less:

# %%
print(inspect.getsource(ssa.ssa_sentence_forward))

# %% [markdown]
# ## 4. Word order
#
# Give attention the same words in another order. Let $P$ be the matrix that reorders rows, so that $q$
# becomes $P q$, and likewise $k$ and $v$. And $P^\top P = 1$: reordered, and put back. Then
#
# $$(P q)(P k)^\top (P v) = \;?$$
#
# ### Exercise 6.4: predict, then run
#
# What becomes of each of these when the words are reordered? `"same"`, `"moved"` (each word has the row it had,
# now at its new place) or `"other"`.
#
# - `"spiking attention"`: its $y$; `"BERT's attention"`: its $y$, with a softmax over each row;
# - `"mean over the words"`: the mean of spiking attention's $y$;
# - the logits of a whole student with random weights, which takes such a mean before its last layer:
#   `"logits, no positions"`; `"logits, positions"`, where each place adds a row of its own to the word that
#   stands there; `"logits, three words at once"`, without positions, but its first layer reads each word
#   together with its two neighbours.
#
# For the mean and the logits, which have no row a word, choose between `"same"` and `"other"`.
#
# <details><summary>Hint 1</summary>
#
# Multiply out: $(P k)^\top = k^\top P^\top$. Which two factors meet in the middle?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# $P q\,k^\top P^\top P\,v = P\,(q\,k^\top v)$: moved. A mean over the rows undoes $P$. Linear layers, layer norm and
# LIF read one word at a time. So order enters only where something reads a place or a neighbour.
#
# </details>


# %%
def predict_order():
    """Return "same", "moved" or "other" under each of the six names above."""
    # BEGIN SOLUTION 6.4
    return {
        "spiking attention": "moved",
        "BERT's attention": "moved",
        "mean over the words": "same",
        "logits, no positions": "same",
        "logits, positions": "other",
        "logits, three words at once": "other",
    }
    # END SOLUTION


# %%
checks.ex_06_4(predict_order)

# %% [markdown]
# The published SpikeBERT has no positions. To it, "the music is good, not the plot" and "the plot is good, not
# the music" are one sentence. Ours learns positions, and its first layer reads three words at once. Below, a
# student's logits of five words as written, and reordered.

# %%
ids = np.array([1, 3, 5, 7, 9])
for settings in (
    {"positions": False, "kernel_width": 1},
    {"positions": True, "kernel_width": 1},
    {"positions": False, "kernel_width": 3},
):
    print(settings)
    print("    as written", student_logits(ids, **settings)[0])
    print("    reordered ", student_logits(ids[ORDER], **settings)[0])

# %% [markdown]
# ## 5. Back through two products
#
# A loss hands down `dy` $= \partial L / \partial y$. What do $q$, $k$ and $v$ get? One rule does it all. For a
# product of matrices $C = A B$,
#
# $$dA = dC\,B^\top, \qquad dB = A^\top dC .$$
#
# Name the steps of the forward pass, per step and head:
#
# $$A = q\,k^\top, \qquad Z = A\,v, \qquad y = \text{join}(Z) \cdot \text{scale},$$
#
# and walk them in reverse. $q$, $k$ and $v$ are plain numbers here, and all is smooth: the checker uses
# centred differences as they are. A surrogate comes in only with the neurons that made $q$, $k$ and $v$.
#
# ### Exercise 6.5: write a backward pass
#
# Start from `dz`, the gradient of $Z$, and return `dq, dk, dv`. The map is not handed to you. Make it again.
#
# <details><summary>Hint 1</summary>
#
# $dZ$ is $dy$ split into heads, times the scale: applied here once, it is in all three. Then the rule twice:
# for $Z = A\,v$ it gives $dA$ and $dv$, for $A = q\,k^\top$ it gives $dq$ and $dk$.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# $dv = A^\top dZ$, $dA = dZ\,v^\top$, $dq = dA\,k$. The last one: in $A = q\,k^\top$ the second factor is $k^\top$, so
# $d(k^\top) = q^\top dA$. What is $dk$? Join all three.
#
# </details>


# %%
def ssa_sentence_backward(dy, q, k, v, *, heads, scale):
    """dy, q, k, v: (T, n, D). Returns dq, dk, dv, each (T, n, D)."""
    # BEGIN SOLUTION 6.5
    q, k, v = split_heads(q, heads), split_heads(k, heads), split_heads(v, heads)
    dz = split_heads(dy, heads) * scale
    dv = (q @ k.swapaxes(-1, -2)).swapaxes(-1, -2) @ dz
    da = dz @ v.swapaxes(-1, -2)
    dq, dk = da @ k, da.swapaxes(-1, -2) @ q
    return join_heads(dq), join_heads(dk), join_heads(dv)
    # END SOLUTION


# %%
back = checks.ex_06_5(ssa_sentence_backward).use

# %% [markdown]
# Ours. It makes the map again too: for a batch of sentences that is cheaper than to keep all maps. Where the
# sentence has more words than a head has channels, the same rule is walked with the summary $M = k^\top v$ and
# $Z = q\,M$: $dq = dZ\,M^\top$, $dM = q^\top dZ$, $dk = v\,dM^\top$, $dv = k\,dM$. The gradients are the same.

# %%
print(inspect.getsource(ssa.by_words_backward))
print(inspect.getsource(ssa.by_channels_backward))
print(inspect.getsource(ssa.ssa_sentence_backward))

# %% [markdown]
# A check that needs no differences: $y$ is linear in $q$ alone, in $k$ alone, and in $v$ alone. So $\sum q\,dq$,
# $\sum k\,dk$ and $\sum v\,dv$ must each be $\sum y\,dy$. Four numbers, all equal. One number for a whole array
# proves little, but it costs nothing, and a scale, a swap or a transpose that was forgotten shows.

# %%
dy, q, k, v = rng.standard_normal((4, 3, 5, 6))
dq, dk, dv = back(dy, q, k, v, heads=2, scale=0.3)
y = attend(q, k, v, 2, 0.3)
for name, a, b in (("y", y, dy), ("q", q, dq), ("k", k, dk), ("v", v, dv)):
    print(f"sum of {name} d{name}: {np.vdot(a, b):.10f}")

# %% [markdown]
# ## 6. Beside BERT's softmax
#
# BERT's attention has one step more, between the two products:
#
# $$y = \text{softmax}\Bigl(\frac{q\,k^\top}{\sqrt E}\Bigr)\,v, \qquad
# \text{softmax}(s)_{ij} = \frac{e^{s_{ij}}}{\sum_l e^{s_{il}}} .$$
#
# It makes each row **shares** that sum to 1. Below are both maps of the sentence of section 1, from the same
# spikes.
#
# ### Exercise 6.6: predict, then run
#
# - `"sum of is's row, spiking"` and `"sum of is's row, BERT"`: *is* asks for nothing. What does its row sum to?
# - `"entry of is's row, BERT"`: what is each of its five entries?
# - Write each word twice (ten words). By which number are the $y$ of the words multiplied?
#   `"each word twice, spiking"` and `"each word twice, BERT"`.
#
# <details><summary>Hint 1</summary>
#
# A row of scores that are all zero: put it into the formula of softmax.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# $e^0 = 1$, divided by five of them. With each word twice there are twice as many terms in the sum over $j$. In
# the one case nothing else changes. In the other, each share is halved.
#
# </details>


# %%
def predict_softmax():
    """Return five numbers under the names above."""
    # BEGIN SOLUTION 6.6
    return {
        "sum of is's row, spiking": 0,
        "sum of is's row, BERT": 1,
        "entry of is's row, BERT": 0.2,
        "each word twice, spiking": 2,
        "each word twice, BERT": 1,
    }
    # END SOLUTION


# %%
checks.ex_06_6(predict_softmax)

# %%
shares, _ = bert_sentence(QUERY[0], KEY[0], VALUE[0])
plots.attention_maps(
    {"Spiking: counts": (counts, unit), "BERT: shares of each row": (shares, "share of attention")},
    WORDS,
    title="The same queries and keys, without and with softmax",
)

# %% [markdown]
# - Spiking attention is a **sum**: a word that finds nothing gets nothing, and a longer sentence gives larger
#   numbers. BERT's is a **mean**: a word must look somewhere, even where nothing was met, and length drops out.
# - A sum of whole numbers has to be brought back to spikes. That is what the scale (0.125) and one more LIF
#   neuron after it are for. Its threshold is half of the others', as in the published code: half the sum is
#   enough for a spike.
# - Softmax stands between the two products, so the brackets cannot be moved: no D x D form.
#
# And backward: softmax mixes the entries of a row, for to raise one share is to lower the others. One line is
# added between $dA$ and the scores, $ds_{ij} = a_{ij}\,(da_{ij} - \sum_l a_{il}\,da_{il})$, where $a$ now stands for
# the shares, and $s$ for $q\,k^\top / \sqrt E$. All else is as yours, but for that $\sqrt E$ in place of the scale, and a
# dropout on the map, which is idle where its rate is 0.

# %%
print(inspect.getsource(self_attention.attention_sentence_forward))
print(inspect.getsource(self_attention.attention_sentence_backward))

# %% [markdown]
# ## 7. A batch, and the block around it
#
# In a batch the sentences lie end to end, with no padding, and `offsets` says where each begins. Attention runs
# on each by itself. Around it, the block. A **spiking unit** (`spiking_linear`) is a linear layer, a layer norm
# and a LIF neuron. Three of them make $q$, $k$, $v$ of $x$; a neuron fires on $y$; a fourth unit, `out`, mixes
# the heads.

# %%
print(inspect.getsource(ssa.attention_forward))
print(inspect.getsource(ssa.ssa_forward))

# %% [markdown]
# Backward it is walked in reverse: through `out`; through the neuron that fires on $y$, at half the threshold;
# through attention, sentence by sentence; and through the three units, whose three gradients of $x$ add up.
#
# ### Exercise 6.7: find the bug
#
# Four wrong backward passes, of the block or of attention over a batch. Whatever they call is right: `ssa_backward`
# and `attention_backward` (the whole walk), `spiking_linear_backward` (through one unit), `lif_backward`, and
# `ssa_from`, which goes from the gradient of attention's $y$ down to $x$ and returns it with those of all
# parameters.
#
# <details><summary>Hint 1</summary>
#
# The reports help: which arrays are wrong? `out` lies above everything else; what is right came before the
# mistake on the way back.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# In B, `offsets[[0, -1]]` keeps where the first sentence begins and where the last one ends: all are one. So B is
# "leaking across sentences". Of the rest, look at which of them calls `lif_backward` on the way to $x$, and with
# which neuron.
#
# </details>

# %%
show_bugs(BUGS)


# %%
def find_bugs():
    """Return the mistake of each: {"A": "...", "B": "...", "C": "...", "D": "..."}."""
    # BEGIN SOLUTION 6.7
    return {
        "A": "threshold not halved",
        "B": "leaking across sentences",
        "C": "path dropped: spiking_linear",
        "D": "left out: lif",
    }
    # END SOLUTION


# %%
checks.ex_06_7(find_bugs)

# %% [markdown]
# The right ones:

# %%
print(inspect.getsource(ssa.attention_backward))
print(inspect.getsource(ssa.ssa_backward))

# %% [markdown]
# ## What to take along
#
# - $y = (q\,k^\top)\,v$ times a scale: the map counts the channels in which a query and a key both fire.
# - Without softmax the brackets can be moved. N x N shows who looks at whom; D x D takes fewer operations where a
#   sentence is longer than a head is wide. They are equal, on spikes to the last bit.
# - Attention moves its rows with the words. Order must be brought in: by positions, or by reading neighbours.
# - Backward, one rule twice: $dv = A^\top dZ$, $dA = dZ\,v^\top$, $dq = dA\,k$, $dk = dA^\top q$. The scale once.
# - Softmax makes a mean of the sum. Spiking attention leaves the taming to a neuron.
