# %% [markdown]
# # 05 From words to spikes, and neurons that never fire
#
# A text comes as numbers of words. A spiking network reads spikes. Between the two stand a table, a layer
# norm and a row of neurons, and most of what can go wrong before training begins goes wrong here: words
# whose gradients are lost, and neurons that are silent for good.
#
# **After this chapter you can** write a look-up's backward pass, let Adam touch only the words of a batch,
# say what a LIF encoder tells that a sign does not, say why a neuron is dead, and wake it.
#
# **Time** about 60 minutes, seven exercises. **You need** NumPy and the chain rule. The LIF neuron of
# chapter 02 and surrogates (chapter 03) are repeated where they come up.
#
# How the exercises work: you write a function in place of `raise NotImplementedError(...)`, and run the
# cell below it. It prints a table, a verdict and, where something is wrong, the likely mistake. If you skip
# an exercise, the chapter goes on with our own answer.

# %%
import inspect
from statistics import NormalDist
from time import process_time

import numpy as np

from spikebert_np.analysis import block_plots
from spikebert_np.analysis import neuron_plots as plots
from spikebert_np.analysis.firing import spike_layers
from spikebert_np.blocks import spike_encoding, spike_input
from spikebert_np.checking import chapter_05 as chapter
from spikebert_np.checking import exercises as checks
from spikebert_np.checking.bug_hunt import show_bugs
from spikebert_np.checking.chapter_05 import BUGS, RIDDLE, WORDS
from spikebert_np.data.shipped import shipped_student
from spikebert_np.data.tokenizer import encode_texts, load_tokenizer
from spikebert_np.data.toy_reviews import toy_reviews
from spikebert_np.layers import conv1d, embedding, lif
from spikebert_np.layers.embedding import RowGradient
from spikebert_np.layers.layernorm import layernorm_forward
from spikebert_np.layers.lif import LIFNeuron
from spikebert_np.layers.surrogate import SURROGATES
from spikebert_np.models.spikebert import spikebert_forward
from spikebert_np.training import optim
from spikebert_np.training.checkpoint import load_run

# %% [markdown]
# ## 1. A table of words
#
# The **embedding** is a table, `weight` of shape (V, D): a row for each of V words. (V is the size of the
# vocabulary, as in the package's code. $v$ in section 2 is Adam's, and $V[t]$ from section 4 on is the
# membrane.) A batch is `ids`, N numbers of words. Forward is one line:
#
# $$y_n = W_{\text{ids}[n]}, \qquad\text{in NumPy}\quad \texttt{y = weight[ids]} .$$
#
# It is a matrix product in disguise. Let $P$ be (N, V), with a single 1 in row $n$, at the column
# $\text{ids}[n]$. Then $y = P\,W$, and for a product we know what goes back: $dW = P^\top dy$. Read it row
# by row:
#
# $$dW_i = \sum_{n\,:\,\text{ids}[n] = i} dy_n .$$
#
# A word that stands three times in the batch was read three times, and collects three gradients. Reading
# from a table is called *gather*; this is *scatter-add*. The words themselves get no gradient: an id is no
# number that one could move a little.
#
# BERT's table has 30,522 rows. A batch reads a few hundred of them, and all other rows of $dW$ are zero. So
# $dW$ is handed on as a `RowGradient(ids, rows)`: the distinct ids, ascending, and a row for each.
#
# ### Exercise 5.1: write a backward pass
#
# Given `dy` (N, D) and `cache.ids` (N,), return a `RowGradient`. `np.unique(ids, return_inverse=True)`
# returns the R distinct ids, and for each token the index of its id among them.
#
# <details><summary>Hint 1</summary>
#
# `rows[index] += dy` looks like a sum. But NumPy first computes all of `rows[index] + dy`, and then writes.
# Where an index occurs twice, the second writes over the first.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Start from zeros of shape (R, D). `np.add.at(rows, index, dy)` adds, token by token.
#
# </details>


# %%
def embedding_backward(dy, cache):
    """dy: (N, D), cache.ids: (N,). Returns dweight as a RowGradient of R distinct ids."""
    # BEGIN SOLUTION 5.1
    distinct, index = np.unique(cache.ids, return_inverse=True)
    rows = np.zeros((len(distinct), dy.shape[1]))
    np.add.at(rows, index, dy)
    return RowGradient(distinct, rows)
    # END SOLUTION


# %%
back = checks.ex_05_1(embedding_backward).use

# %% [markdown]
# Ours:

# %%
print(inspect.getsource(embedding.embedding_backward))
print(inspect.getsource(embedding._add_rows))

# %% [markdown]
# ## 2. Adam touches only what was read
#
# Adam keeps two numbers beside each parameter, running means of its gradient $g$ and of $g^2$:
#
# $$
# \begin{aligned}
# m &\leftarrow 0.9\,m + 0.1\,g\\
# v &\leftarrow 0.999\,v + 0.001\,g^2\\
# w &\leftarrow w - \text{rate} \cdot \frac{m / (1 - 0.9^{\,\text{step}})}{\sqrt{v / (1 - 0.999^{\,\text{step}})} + 10^{-8}}
# \end{aligned}
# $$
#
# The two divisions undo the start at zero: `step` counts from 1. Taken literally, each step walks through
# all V rows of three tables, to change next to nothing in nearly all of them.
#
# ### Exercise 5.2: derive, then implement
#
# Take the step for the rows `grad.ids` alone, with the gradient `grad.rows`. A row that the batch did not
# read stays as it is, in all three tables. `step` is the number of this step. Return new tables; change no
# argument.
#
# <details><summary>Hint 1</summary>
#
# Copy the three tables first. `weight[grad.ids]` picks rows, and `weight[grad.ids] -= ...` changes them. No
# id is there twice now, so nothing is overwritten.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `m = 0.9 * mean[ids] + 0.1 * g`, likewise `v`; write both back into the copies as they are, and divide by
# `1 - 0.9**step` and `1 - 0.999**step` only in the third line.
#
# </details>

# %%
RATE = chapter.RATE


# %%
def adam_rows(weight, mean, square, grad, step):
    """weight, mean, square: (V, D); grad: a RowGradient; step: 1, 2, .... Returns the new three."""
    # BEGIN SOLUTION 5.2
    ids, g = grad
    weight, mean, square = weight.copy(), mean.copy(), square.copy()
    mean[ids] = 0.9 * mean[ids] + 0.1 * g
    square[ids] = 0.999 * square[ids] + 0.001 * g**2
    m, v = mean[ids] / (1 - 0.9**step), square[ids] / (1 - 0.999**step)
    weight[ids] -= RATE * m / (np.sqrt(v) + 1e-8)
    return weight, mean, square
    # END SOLUTION


# %%
checks.ex_05_2(adam_rows)

# %% [markdown]
# Ours works in place, and treats a `RowGradient` and a whole array by the same lines: `rows` is either the
# ids or `...`, which is everything. It is AdamW: before its step a weight matrix shrinks a little (weight
# decay, `param *= keep`). The embedding does not, or all of its rows would move again.

# %%
print(inspect.getsource(optim.adamw_step))

# %% [markdown]
# What does it save? A table of BERT's size, 128 wide, and a batch that reads 300 words. Then what it
# changes: a word is read once, at the first step, and never again.

# %%
rng = np.random.default_rng(5)


def train_table(vocab_size, batches, *, whole):
    """The table after a step for each batch, a list of ids; and the CPU time (s)."""
    params = {"embedding.weight": np.zeros((vocab_size, 128))}
    state = optim.adamw_init(params)
    start = process_time()
    for ids in batches:
        grad = RowGradient(np.array(ids), np.ones((len(ids), 128)))
        grads = {"embedding.weight": grad.dense(vocab_size) if whole else grad}
        state = optim.adamw_step(params, grads, state, learning_rate=RATE)
    return params["embedding.weight"], process_time() - start


batches = [np.sort(rng.choice(30_522, 300, replace=False)) for _ in range(2)]
for whole in (True, False):
    _, seconds = train_table(30_522, batches, whole=whole)
    name = "the whole table" if whole else "300 rows"
    print(f"{name:16} {1000 * seconds / len(batches):7.1f} ms a step")
for whole in (True, False):
    table, _ = train_table(2, [[0], *[[1]] * 50], whole=whole)
    name = "the whole table" if whole else "rows alone"
    print(f"{name:16} moved word 0 by {-table[0, 0] / RATE:.2f} times the learning rate")

# %% [markdown]
# So the two are not the same rule. By the whole table a word goes on moving, by its old mean, while nobody
# reads it. By rows it moves when it is read. Ours is by rows.

# %% [markdown]
# ## 3. Positions and neighbours: more tables
#
# Two more things stand between a word and its spikes.
#
# **Positions.** A second table has a row for each position in a sentence, and it is added to the word's:
# $y_n = x_n + Q_{n - \text{start}}$. Positions count anew in each sentence. It is a look-up too, with
# the position for an id. So its backward pass is a scatter-add again: in a batch of 50 sentences the first row
# collects 50 gradients.
#
# **Windows.** Our first layer reads three words at once: a word, the one before and the one after, end to
# end, and then a linear layer. At the ends of a sentence zeros stand in. (`kernel_width=1` reads each word
# alone, as the published model does.) Forward, a window *gathers*; so each word stands in up to three
# windows, its own and its neighbours', and backward it *collects* from all three. Below, two sentences of
# four words and of one; each word's number in place of its embedding, and then how many windows each word
# was read by.

# %%
offsets = np.array([0, 4, 5])
numbers = np.arange(1.0, 6.0)[:, None]  # (N, 1)
windows, cache = conv1d.windows_forward(numbers, offsets, width=3)
print(windows)
print(conv1d.windows_backward(np.ones_like(windows), cache).ravel())

# %% [markdown]
# ## 4. Two encoders
#
# A current is a real number, for each word and each of D neurons. How does it become T steps of spikes?
#
# - **The sign** (the published SpikeBERT): $S = \Theta(\text{embedding})$. The neuron fires where the
#   embedding is at least 0, and the same spikes are sent at all T steps.
# - **LIF** (ours): the current flows into a LIF neuron at every step. With $v_\text{reset} = 0$,
#   $H[t] = (1 - \tfrac1\tau)\,V[t-1] + \tfrac1\tau\,x$, it fires where $H[t] \ge v_\text{th}$, and $V[t]$
#   is 0 where it fired, else $H[t]$.
#
# ### Exercise 5.3: predict, then run
#
# With $\tau = 2$, $v_\text{th} = 1$, $T = 4$: the four spikes (0 or 1) of a LIF neuron from rest with a
# current of 0.9, 1.1, 1.5 and 2.0, and those of the sign for $-0.2$ and 0.9.
#
# <details><summary>Hint 1</summary>
#
# With $\tau = 2$ each step takes the mean of $V$ and $x$. Until the first spike,
# $H = \tfrac12 x, \tfrac34 x, \tfrac78 x, \tfrac{15}{16} x$.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# $\tfrac{15}{16} \cdot 1.1 = 1.03$. For 1.5 the second step has $1.125$: it fires, the membrane is 0 again,
# and it all begins anew. At 2.0 the first step has exactly 1, and $\ge$ holds.
#
# </details>


# %%
def spikes_by_hand():
    """Return lists of four: "LIF, 0.9", "LIF, 1.1", "LIF, 1.5", "LIF, 2.0", "sign, -0.2", "sign, 0.9"."""
    # BEGIN SOLUTION 5.3
    return {
        "LIF, 0.9": [0, 0, 0, 0],
        "LIF, 1.1": [0, 0, 0, 1],
        "LIF, 1.5": [0, 1, 0, 1],
        "LIF, 2.0": [1, 1, 1, 1],
        "sign, -0.2": [0, 0, 0, 0],
        "sign, 0.9": [1, 1, 1, 1],
    }
    # END SOLUTION


# %%
checks.ex_05_3(spikes_by_hand)

# %%
currents = np.linspace(-1, 3, 401)


def count(neuron, encoder="lif"):
    """Spikes in four steps, for each of the currents."""
    s, _ = spike_encoding.spike_encoding_forward(currents, steps=4, encoder=encoder, neuron=neuron)
    return s.sum(axis=0)


plots.curves(
    currents,
    {
        "sign": count(LIFNeuron(), "heaviside"),
        "LIF, tau = 2": count(LIFNeuron()),
        "LIF, tau = 4": count(LIFNeuron(tau=4.0)),
    },
    title="What four steps tell of a current",
    xlabel="current x (thresholds)",
    ylabel="spikes in four steps",
)

# %% [markdown]
# - The sign says one thing, above or below 0, and says it four times: three of the steps are spent for
#   nothing. And half of all neurons fire: of currents spread evenly around 0, half lie above it.
# - LIF says in steps *how much*: more current, more spikes, and sooner. And it is sparse: of standard
#   normal currents one in seven reaches the floor of 1.07, where the stairs begin ($\tau = 2$).
#
# **Backward.** All T steps read one and the same current, so T gradients add up: $dx = \sum_t dX[t]$, with
# $dX$ from backpropagation through the LIF neuron (chapter 04). For the sign it is
# $dx = \sigma'(x) \sum_t dS[t]$, with the slope of a surrogate in place of $\Theta'$. Here they are,
# forward; the backward pass has a question first.

# %%
print(inspect.getsource(spike_encoding.spike_encoding_forward))

# %% [markdown]
# ### Exercise 5.4: find the bug
#
# Four wrong backward passes: two of encoders, one of windows, one of positions. `lif_backward` is right,
# and so is `places`, which lists for each slot $j$ of the window the `tokens` whose window has a word
# there, and the `sources` that stand there: forward, `y[tokens, j] = x[sources]`.
#
# <details><summary>Hint 1</summary>
#
# Each of sections 3 and 4 has a sentence that says what is to be added up, or by what it is to be
# multiplied. Which of them is broken?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# A hands on what one of the T steps gives, `[-1]`, and adds up nothing. So A is "last step only". Of B,
# read forward's line above once more: what stands on its left, and what on its right?
#
# </details>

# %%
show_bugs(BUGS)


# %%
def find_bugs():
    """Return the mistake of each: {"A": "...", "B": "...", "C": "...", "D": "..."}."""
    # BEGIN SOLUTION 5.4
    return {
        "A": "last step only",
        "B": "window not turned round",
        "C": "surrogate left out",
        "D": "rows overwritten",
    }
    # END SOLUTION


# %%
checks.ex_05_4(find_bugs)

# %% [markdown]
# The right ones, and the whole way from ids to spikes:

# %%
print(inspect.getsource(spike_encoding.spike_encoding_backward))
print(inspect.getsource(embedding.positions_backward))
print(inspect.getsource(conv1d.windows_backward))
print(inspect.getsource(spike_input.spike_input_forward))

# %% [markdown]
# ## 5. A sentence in spikes
#
# Nine words, twelve neurons, random embeddings, no positions. Each word's band is four steps wide, and a
# filled cell is a spike. The panels differ in the encoder, or in how many words the first layer reads at once.

# %%
block_plots.sentence_spikes(RIDDLE, WORDS, title="One sentence, three ways to encode it")

# %% [markdown]
# ### Exercise 5.5: read a plot
#
# - `"sign"`: the panel of the sign, `"A"`, `"B"` or `"C"`; the other two are LIF;
# - `"three words"`: the panel whose first layer reads three words at once; the others read each word alone;
# - `"silent in B"`: how many neurons of panel B never fire;
# - `"busiest in B"`: the number of the neuron that fires most in B;
# - `"first spike of 'dull' in B"`: the step, from 0, at which a neuron first fires for *dull* in B.
#
# <details><summary>Hint 1</summary>
#
# The sign sends the same at each step. And two words stand twice in the sentence: compare their columns.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# The columns of *the* are the same in two panels. In the third they are not, because other words stand
# beside them. In B, go down the rows and count those that are empty from the first word to the last.
#
# </details>


# %%
def read_plot():
    """Return the five answers under the names above."""
    # BEGIN SOLUTION 5.5
    return {
        "sign": "C",
        "three words": "A",
        "silent in B": 5,
        "busiest in B": 2,
        "first spike of 'dull' in B": 1,
    }
    # END SOLUTION


# %%
checks.ex_05_5(read_plot)

# %% [markdown]
# A whole word can be silent, too: in B no neuron fires for *the*. The layers above read nothing there.
# Chapter 07 shows what that does to the gradient.

# %% [markdown]
# ## 6. The firing floor
#
# A neuron that is silent for all words tells nothing. When is it? A constant current $x$ charges a neuron
# at rest, within T steps, up to $v_\text{reset} + x\,(1 - (1 - \tfrac1\tau)^T)$ (exercise 2.4). So it fires
# only where
#
# $$x \ge x_\text{floor} = \frac{v_\text{th} - v_\text{reset}}{1 - (1 - \tfrac1\tau)^T} .$$
#
# By hand: for $v_\text{th} = 1$, $v_\text{reset} = 0$, $T = 4$ it is $1 / (1 - \tfrac1{16}) = 1.07$ at
# $\tau = 2$, and $1 / (1 - 0.9^4) = 2.91$ at $\tau = 10$.
#
# What currents are there? A layer norm stands before the neurons: a neuron's current is
# $x = \text{gain} \cdot \hat x + \text{bias}$, with $\hat x$ of mean 0 and variance 1. Take $\hat x$ for
# standard normal over the words, with the distribution function $\Phi$. Then the share of words for which
# it fires at all is
#
# $$\text{share} = 1 - \Phi\Bigl(\frac{x_\text{floor} - \text{bias}}{\text{gain}}\Bigr).$$
#
# With gain 1 and bias 0, as training begins: 14 % at $\tau = 2$, and 0.2 % at $\tau = 10$. The lines below
# are the formula, for $T = 4$. The dots are counted, with a layer norm of 512 neurons, a LIF encoder and
# 200 words.

# %%
normal = NormalDist()
x_hat, _ = layernorm_forward(rng.standard_normal((200, 512)), np.ones(512), np.zeros(512))
taus = np.linspace(1.2, 10, 23)


def formula(tau, gain, bias):
    """The share of words for which a neuron fires, in percent."""
    return 100 * (1 - normal.cdf((lif.firing_floor(LIFNeuron(tau=tau), 4) - bias) / gain))


def counted(tau, gain, bias):
    """The same, of 200 words."""
    s, _ = spike_encoding.spike_encoding_forward(
        gain * x_hat + bias, steps=4, encoder="lif", neuron=LIFNeuron(tau=tau)
    )
    return 100 * s.any(axis=0).mean()


lines, dots = {}, {}
for gain, bias in ((1.0, 0.0), (1.0, -1.0), (0.5, 0.0)):
    name = f"gain {gain:g}, bias {bias:g}"
    lines[name] = [formula(tau, gain, bias) for tau in taus]
    dots[name] = [counted(tau, gain, bias) for tau in taus]
plots.curves(
    taus,
    lines,
    dots=dots,
    title="For how many words does a neuron fire?",
    xlabel="time constant tau (steps)",
    ylabel="words (%)",
)

# %% [markdown]
# ### Exercise 5.6: derive, then implement
#
# A neuron is all but dead. We want it to fire for a given share of the words. Three things could be turned,
# each alone, the others left as they are: its bias, its gain, its threshold. Solve the formula for each.
# `floor(neuron, steps)` gives $x_\text{floor}$; `normal.inv_cdf(p)` is the $z$ with $\Phi(z) = p$. Mind
# that $v_\text{reset}$ is not 0 here.
#
# <details><summary>Hint 1</summary>
#
# Let $z$ be the number with $1 - \Phi(z) = \text{share}$. The word at $z$ is the one that should just reach
# the floor: $\text{gain} \cdot z + \text{bias} = x_\text{floor}$.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# $\text{bias} = x_\text{floor} - \text{gain} \cdot z$ and
# $\text{gain} = (x_\text{floor} - \text{bias}) / z$. For the threshold put
# $\text{gain} \cdot z + \text{bias}$ in for $x_\text{floor}$ in its definition, and solve for
# $v_\text{th}$.
#
# </details>

# %%
floor = lif.firing_floor


# %%
def wake(neuron, steps, gain, bias, share):
    """Numbers; share below 0.5. Returns the bias, the gain and the v_th that are needed."""
    # BEGIN SOLUTION 5.6
    z = normal.inv_cdf(1 - share)
    lowest = floor(neuron, steps)
    charged = 1 - (1 - 1 / neuron.tau) ** steps
    v_th = neuron.v_reset + (gain * z + bias) * charged
    return lowest - gain * z, (lowest - bias) / z, v_th
    # END SOLUTION


# %%
needed = checks.ex_05_6(wake).use

# %%
slow = LIFNeuron(tau=10.0)
print("tau = 10, T = 4, gain 1, bias 0; to fire for 14 % of the words it needs")
print("bias {:.2f}, or gain {:.2f}, or threshold {:.2f}".format(*needed(slow, 4, 1.0, 0.0, 0.14)))

# %% [markdown]
# In a block the currents are not constant: spikes come at some steps and not at others. There the floor is
# a rule of thumb. For the encoder it is exact.

# %% [markdown]
# ## 7. Asleep, or dead?
#
# Can training wake a neuron? It gets a gradient through the surrogate's slope, $\sigma'(H - v_\text{th})$.
# Far below the threshold that slope is small. How small depends on the surrogate: here, with $\alpha = 4$,
# on logarithmic axes. Where a line ends the slope is not small, but zero.

# %%
below = np.geomspace(0.01, 5, 500)
slopes = {name: pair.derivative(-below, 4.0) for name, pair in SURROGATES.items()}
plots.curves(
    below,
    {name: np.where(slope > 0, slope, np.nan) for name, slope in slopes.items()},
    title="The slope that a silent neuron learns by, alpha = 4",
    xlabel="v_th - H, how far below the threshold (units of membrane)",
    ylabel="slope (per unit of membrane)",
    log=True,
)

# %% [markdown]
# Sixteen neurons sleep: gain 0.3, bias $-2.5$, so that none of the 64 words comes near the floor of 1.07
# ($\tau = 2$, $v_\text{th} = 1$, $T = 4$; $\alpha = 4$, as drawn). The loss wants of each one spike a word, in
# the mean over the words:
#
# $$L = \tfrac12 \sum_d \bigl(\operatorname{mean}(\text{count}_d) - 1\bigr)^2 .$$
#
# Only gain and bias are trained, for 200 updates,
#
# - by **SGD**: step = 0.5 · gradient,
# - by **Adam**: step = 0.02 · (mean of the gradient) / (root of the mean of its square + $10^{-8}$).
#
# ### Exercise 5.7: predict, then run
#
# `"wakes"` or `"sleeps"`: does any of them fire by the end? For the surrogates atan, sigmoid and triangle:
# `"atan, SGD"`, `"atan, Adam"`, `"sigmoid, SGD"`, `"sigmoid, Adam"`, `"triangle, SGD"`, `"triangle, Adam"`;
# and `"triangle, SGD, bias 0"`, where the bias begins at 0.
#
# <details><summary>Hint 1</summary>
#
# With a bias of $-2.5$ the membrane goes down to about $\tfrac{15}{16} \cdot (-2.5)$: look at the picture
# more than 3 below the threshold. To wake, the bias must rise by about 3. SGD's first step moves it by
# $0.5 \sum_t \sigma'(H[t] - v_\text{th})\,(1 - 2^{-(t+1)})$, in the mean over the words: with atan 0.009, and more
# as the membrane rises; with sigmoid 0.0002.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Adam divides the gradient by its own size. A tiny gradient of one sign gives full steps of 0.02; 200 of
# them are 4. A gradient of zero gives none. With a bias of 0 a word feels the triangle, which begins 0.25
# below the threshold, where $\tfrac{15}{16} \cdot 0.3\,\hat x > 0.75$, that is $\hat x > 2.667$. The largest
# $\hat x$ of 16 neurons and 64 words is 2.674: one neuron of the 16.
#
# </details>


# %%
def predict():
    """Return "wakes" or "sleeps" under each of the seven names above."""
    # BEGIN SOLUTION 5.7
    return {
        "atan, SGD": "wakes",
        "atan, Adam": "wakes",
        "sigmoid, SGD": "sleeps",
        "sigmoid, Adam": "wakes",
        "triangle, SGD": "sleeps",
        "triangle, Adam": "sleeps",
        "triangle, SGD, bias 0": "wakes",
    }
    # END SOLUTION


# %%
checks.ex_05_7(predict)

# %%
print(inspect.getsource(chapter.firing_through_training))
runs = ("atan, SGD", "sigmoid, SGD", "atan, Adam", "sigmoid, Adam", "triangle, Adam")
plots.curves(
    range(200),
    {run: 100 * chapter.firing_through_training(*run.split(", ")) for run in runs},
    title="Sixteen sleeping neurons in training",
    xlabel="update",
    ylabel="steps at which they fire (%)",
)

# %% [markdown]
# - A neuron with a small slope is **asleep**: SGD wakes it late or never, Adam in time. (One spike a word
#   is 25 % of four steps: there the loss is content.) One with a slope of zero for all words is **dead**:
#   no gradient reaches its gain, its bias, or the weights before them, and no optimiser that goes by
#   gradients wakes it.
# - So for a dead neuron something must be turned from outside: the threshold down, the bias or the gain up,
#   another surrogate, a smaller $\alpha$. Or the weights *before* it must move for another reason, so that
#   its currents change.
# - The layer norm protects: whatever the weights before it do, $\hat x$ has mean 0 and variance 1 over the
#   neurons of a word, so that they cannot all sink at once. But gain and bias are a neuron's own, and can
#   put it to sleep.
#
# And in a trained student? The one that travels with the package was trained on film reviews, with atan and
# AdamW. Below it reads 100 sentences, of few different words.

# %%
run = load_run(shipped_student())
texts = toy_reviews()["dev"].texts[:100]
batch = encode_texts(load_tokenizer(shipped_student() / "tokenizer.json"), texts)
_, cache = spikebert_forward(batch.ids, batch.offsets, run.params, run.config, backend="numpy")
for name, s in spike_layers(cache).items():
    rates = s.mean(axis=(0, 1))
    silent = f"{(rates == 0).sum():3d} of {len(rates)} neurons silent on these sentences"
    print(f"{name:18} fires {rates.mean():5.1%}   {silent}")

# %% [markdown]
# The encoder uses nearly all of its neurons, the later layers far fewer. Silent here is not dead: on other
# sentences they may fire, and with atan each still has a slope. But it is a number worth looking at before
# one makes a network wider.
#
# ## What to take along
#
# - Forward gather, backward scatter-add: what is read twice collects twice. `rows[ids] += dy` does not.
# - Adam by rows costs what the batch reads, not what the table holds. A word that is not read stays where
#   it is.
# - LIF tells how strong a current is; the sign tells that it is there, T times. The T gradients of one
#   current add up.
# - Below the floor $(v_\text{th} - v_\text{reset}) / (1 - (1 - \tfrac1\tau)^T)$ no constant current fires
#   within T steps. Bias, gain and threshold lift a neuron over it.
# - A small slope is sleep, and Adam wakes from it. A slope of zero is death.
