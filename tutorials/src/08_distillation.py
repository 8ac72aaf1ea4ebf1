# %% [markdown]
# # 08 Distillation: learning from what BERT makes of a sentence
#
# A label says one bit about a sentence. BERT, reading the same sentence, says a vector for each word at each
# of its layers, and two logits. Distillation lets a small spiking student learn from all of that. Nothing new
# goes through the network: there are four losses at its outputs, each with a gradient of a line or two. This
# chapter derives every one.
#
# **After this chapter you can** say what a teacher cache holds and read it by memory map, write each of the
# four losses' gradients, say why the divergence is multiplied by the temperature squared, and say which loss
# moves which part of the network.
#
# **Time** about 60 minutes, nine exercises. **You need** NumPy, softmax, the chain rule, and the backward pass
# of a linear layer and of layer norm as boxes (chapter 01 opens them). The network is a box too.
#
# How the exercises work: you write a function in place of `raise NotImplementedError(...)`, and run
# the cell below it. It prints a table, a verdict and, where something is wrong, the likely mistake.
# If you skip an exercise, the chapter goes on with our own answer.

# %%
import inspect

import numpy as np

from spikebert_np.analysis import neuron_plots as plots
from spikebert_np.analysis import training_plots
from spikebert_np.blocks import distillation_tap
from spikebert_np.checking import exercises as checks
from spikebert_np.checking.bug_hunt import show_bugs
from spikebert_np.checking.chapter_08 import BUGS, gradients_by_loss, kl_gradients
from spikebert_np.data import batches
from spikebert_np.data.shipped import open_cache
from spikebert_np.data.tokenizer import load_tokenizer
from spikebert_np.layers import losses
from spikebert_np.layers.layernorm import layernorm_backward
from spikebert_np.layers.linear import linear_backward
from spikebert_np.layers.losses import log_softmax
from spikebert_np.training import distill, loop
from spikebert_np.training.optim import adamw_init, adamw_step
from spikebert_np.training.word_rows import teacher_word_rows

# %% [markdown]
# ## 1. What the cache holds
#
# The teacher does not change while the student learns. So it reads every sentence once, and what it says is
# written to disk: the **teacher cache**. The student's training needs no BERT, and no second reading.
#
# A small cache travels with the package: what MiniLM, a BERT of 6 blocks, makes of `toy_reviews`, 1,920 short
# film reviews. Its manifest:

# %%
cache = open_cache("toy_reviews")
for key in ("teacher", "splits", "layers", "student_blocks", "counts"):
    print(f"{key:15} {cache.manifest[key]}")
print("offsets, the first five:", cache.offsets[:5])

# %% [markdown]
# All sentences lie end to end, with no padding. `ids.npy` has one number a token. Sentence $b$ (from 0) has the
# tokens from `offsets[b]` up to, and without, `offsets[b + 1]`. `[CLS]` and `[SEP]` are tokens like others.
#
# `hidden_3.npy` and `hidden_6.npy` have one row of `width` numbers a token, float16: what the teacher's block 3
# and its last block put out. They are large, so a cache may keep them for the first `hidden_sentences`
# sentences alone. `student_blocks` says which block of the student (from 0) learns from which layer.
#
# ### Exercise 8.1: predict, then run
#
# From what is printed above, without opening a file:
#
# - `"first row of sentence 3"`: the row of `hidden_6.npy` at which sentence 3 begins,
# - `"tokens of sentence 3"`: how many rows it has,
# - `"kB of its hidden states"`: of one layer, in thousands of bytes,
# - `"MB of hidden_6.npy"`: the whole file, in millions of bytes (leave its header out),
# - `"hidden states of sentence 300"`: are there any? `"yes"` or `"no"`,
# - `"layer of student block 1"`: the teacher's layer that the student's second block is compared with.
#
# <details><summary>Hint 1</summary>
#
# Sentence 3 lies between two of the printed offsets. A float16 has 16 bits.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Rows 34 to 46. Bytes are tokens times 384 times 2. For the file, count `hidden_tokens`, and not `tokens`.
#
# </details>


# %%
def read_manifest():
    """Return five numbers, and "yes" or "no", under the names above; bytes to 1 %."""
    # BEGIN SOLUTION 8.1
    return {
        "first row of sentence 3": 34,
        "tokens of sentence 3": 13,
        "kB of its hidden states": 13 * 384 * 2 / 1000,
        "MB of hidden_6.npy": 3427 * 384 * 2 / 1e6,
        "hidden states of sentence 300": "no",
        "layer of student block 1": 6,
    }
    # END SOLUTION


# %%
checks.ex_08_1(read_manifest)

# %% [markdown]
# The hidden states are read by **memory map**: `cache.hidden[6]` looks like an array, but its rows stay on disk
# until they are cut out. A batch reads its own rows alone, so that a cache may be larger than memory.

# %%
rows = slice(cache.offsets[3], cache.offsets[4])
tokenizer = load_tokenizer(cache.tokenizer)
print("sentence 3:", " ".join(tokenizer.id_to_token(int(i)) for i in cache.ids[rows]))
print("its label:", cache.labels[3], "  the teacher's logits:", cache.logits[3])
print("the file:", type(cache.hidden[6]).__name__, cache.hidden[6].dtype, cache.hidden[6].shape)
states = cache.hidden[6][rows].astype(np.float64)
print("cut out:", states.shape, f"row means about {states.mean(axis=1).mean():.3f},",
      f"row deviations {states.std(axis=1).min():.2f} to {states.std(axis=1).max():.2f}")  # fmt: skip

# %% [markdown]
# And this is how a batch of sentences, drawn in any order, is cut out at once:

# %%
print(inspect.getsource(batches.gather_sentences))

# %% [markdown]
# ## 2. Two stages, four losses
#
# $$L = w_\text{CE}\,L_\text{CE} + w_\text{KL}\,L_\text{KL} + w_\text{feat} \sum_{\text{blocks}} L_\text{feat}
# + w_\text{emb}\,L_\text{emb}$$
#
# | loss | compares | stage 1, any text | stage 2, the task |
# |---|---|---|---|
# | CE | logits with the label | 0 | 0.1 |
# | KL | logits with the teacher's logits | 0 | 1.0 |
# | features | each block's tap with the teacher's hidden states | 1.0 | 0.1 |
# | embedding | the student's word rows with the teacher's | 1.0 | 0.1 |
#
# Stage 1 is **general** distillation. It needs no labels and no task, only text: the student learns to make of
# each word in its sentence what BERT makes of it. Stage 2 goes on from there on the task's own sentences. The
# weights of stage 2 are those of SpikeBERT's released script; its code divides the features' loss by the batch size
# once more.
#
# Whatever a loss looks at gets a gradient: the logits, the taps, the word rows. From there on it is chapter 07's
# walk back through the network, the same for all four.

# %% [markdown]
# ## 3. Cross-entropy
#
# The student's probabilities are $q = \text{softmax}(z)$ of its logits $z$. For sentences $b$ with label $y_b$,
#
# $$L_\text{CE} = -\frac1B \sum_b \log q_{b,y_b}, \qquad \log q_c = z_c - \log \sum_j e^{z_j} .$$
#
# Differentiate $-\log q_y$ by one logit $z_c$. The first term gives $-1$ where $c = y$. The second gives
# $e^{z_c} / \sum_j e^{z_j}$, which is $q_c$ again:
#
# $$\frac{\partial}{\partial z_c}\bigl(-\log q_y\bigr) = q_c - \mathbb 1[c = y] .$$
#
# Probability minus truth. Each row sums to zero: what one class gains the others lose.
#
# ### Exercise 8.2: write a backward pass
#
# A sentence without a label has $y_b = -1$. It adds nothing to the sum, but counts in $B$. (So a label weighs the
# same in every batch.) `dloss` is what the loss's own gradient is from above, one number for all: 1, or the loss's
# weight in a sum of losses (section 9). It multiplies everything.
#
# <details><summary>Hint 1</summary>
#
# Begin with an array of zeros, and fill in the rows of the sentences that have a label:
# `np.flatnonzero(labels >= 0)`.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# With `rows` for those numbers: `dlogits[rows, labels[rows]] -= 1` takes the one-hot label off. Then times
# `dloss`, over the number of all labels. Take care not to write into `cache.probabilities`.
#
# </details>


# %%
def cross_entropy_backward(dloss, cache):
    """dloss: a number. cache.probabilities (B, C), cache.labels (B,). Returns dlogits (B, C)."""
    # BEGIN SOLUTION 8.2
    q, labels = cache.probabilities, cache.labels
    known = np.flatnonzero(labels >= 0)
    dlogits = np.zeros_like(q)
    dlogits[known] = q[known]
    dlogits[known, labels[known]] -= 1
    return dlogits * dloss / len(labels)
    # END SOLUTION


# %%
ce_back = checks.ex_08_2(cross_entropy_backward).use

# %%
print(inspect.getsource(losses.cross_entropy_forward))
print(inspect.getsource(losses.cross_entropy_backward))

# %% [markdown]
# ## 4. The divergence, and its temperature
#
# The teacher has probabilities $p$, and the student should have the same. How far apart they are is told by the
# **Kullback-Leibler divergence**:
#
# $$\text{KL}(p \,\|\, q) = \sum_c p_c\,(\log p_c - \log q_c) .$$
#
# It is cross-entropy with soft labels, less a constant: where the one-hot label stood, $p$ stands now. Both are
# made at a **temperature** $\tau$ (which has nothing to do with the neuron's): $q = \text{softmax}(z / \tau)$ and
# $p = \text{softmax}(v / \tau)$, with $v$ the teacher's logits. Heat makes softer: the label fades, and what the
# teacher says beside it comes out.

# %%
for b in (0, 1, 5):
    shares = [np.exp(log_softmax(cache.logits[b] / t))[cache.labels[b]] for t in (1, 2, 4, 8)]
    print(f"sentence {b}: p of its label at temperature 1, 2, 4, 8:", np.round(shares, 3))

# %% [markdown]
# With two classes there is only this to learn beside the label: how sure BERT is, sentence by sentence, and
# where it would say otherwise. With more classes, $p$ also says which of the wrong ones is nearly right.
#
# The loss is a mean over the batch, times $\tau^2$ (why, is section 5):
#
# $$L_\text{KL} = \tau^2\,\frac1B \sum_b \text{KL}(p_b \,\|\, q_b) .$$
#
# ### Exercise 8.3: write a backward pass
#
# $p$ is a constant: no gradient goes into the teacher. Derive $\partial L_\text{KL} / \partial z$ as in section 3.
# How often does $\tau$ come in, and where?
#
# <details><summary>Hint 1</summary>
#
# $-\sum_c p_c \log q_c$ has, by $u = z / \tau$, the gradient $q - p$: repeat section 3 with $p$ for the one-hot label,
# and use $\sum_c p_c = 1$. It remains to go from $u$ to $z$.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# $\partial u / \partial z = 1 / \tau$ takes one of the two factors $\tau$ back: $\tau\,(q - p) / B$, times `dloss`.
#
# </details>


# %%
def kl_divergence_backward(dloss, cache):
    """cache.student, cache.teacher: q and p (B, C); cache.temperature. Returns dlogits (B, C)."""
    # BEGIN SOLUTION 8.3
    q, p = cache.student, cache.teacher
    return dloss * cache.temperature * (q - p) / len(q)
    # END SOLUTION


# %%
kl_back = checks.ex_08_3(kl_divergence_backward).use

# %%
print(inspect.getsource(losses.kl_divergence_forward))
print(inspect.getsource(losses.kl_divergence_backward))

# %% [markdown]
# ## 5. Why times the temperature squared
#
# What becomes of $\tau\,(q - p) / B$ when $\tau$ is large? All $u = z / \tau$ are then small, and $e^u \approx 1 + u$.
#
# ### Exercise 8.4: derive, then implement
#
# Put that into $q_c = e^{u_c} / \sum_j e^{u_j}$ of $C$ classes, and keep what is of the first order in $1/\tau$. Do the
# same for $p$, and find the limit of $\partial L_\text{KL} / \partial z$. No $\tau$ is left in it.
#
# <details><summary>Hint 1</summary>
#
# The sum is $C + \sum_j u_j = C\,(1 + \bar u)$, with $\bar u$ the mean over the classes. And
# $1 / (1 + \bar u) \approx 1 - \bar u$.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# $q_c \approx \frac1C\,(1 + u_c - \bar u)$. In the difference $q - p$ the ones cancel:
# $\frac{1}{C \tau}\,\bigl((z_c - \bar z) - (v_c - \bar v)\bigr)$. Now the factor $\tau / B$.
#
# </details>


# %%
def high_temperature_gradient(logits, teacher_logits):
    """logits, teacher_logits: z and v, (B, C). Returns the limit of dlogits (B, C)."""
    # BEGIN SOLUTION 8.4
    z = logits - logits.mean(axis=1, keepdims=True)
    v = teacher_logits - teacher_logits.mean(axis=1, keepdims=True)
    return (z - v) / z.size
    # END SOLUTION


# %%
limit = checks.ex_08_4(high_temperature_gradient).use

# %% [markdown]
# In the limit, the divergence compares **logits**: this is the gradient of half the mean squared difference of
# the two, each less its row's mean. And the factor $\tau^2$ is what keeps it from vanishing. Without it the gradient
# falls as $1/\tau^2$, and whoever raised the temperature would also have turned the loss off.

# %%
rng = np.random.default_rng(8)
z, v = rng.normal(0, 1, (32, 2)), rng.normal(0, 2, (32, 2))
temperatures = np.logspace(0, 2, 25)
with_factor, without = kl_gradients(temperatures, z, v)
plots.curves(
    temperatures,
    {
        "times τ²": with_factor,
        "without": without,
        "limit of exercise 8.4": [np.linalg.norm(limit(z, v))] * len(temperatures),
    },
    title="The size of the divergence's gradient",
    xlabel="temperature τ",
    ylabel="norm of dL/dlogits",
    log=True,
)

# %% [markdown]
# ## 6. Features, through a tap
#
# A block of the student puts out $x$: whole numbers of spikes, (T, N, D). The teacher's hidden states are signed
# numbers, (N, D_teacher), and of another width. Between the two stands a **tap**: mean over time, linear, layer
# norm. It is trained too, and thrown away after training.
#
# $$m = \frac1T \sum_t x[t], \qquad a = m\,W + b, \qquad \text{tap} = \text{layernorm}(a), \qquad
# L_\text{feat} = \frac{1}{N D} \sum_{n,d} (\text{tap}_{nd} - h_{nd})^2 ,$$
#
# with $D$ for D_teacher. The loss hands down `dtap` $= 2\,(\text{tap} - h) / (N D)$. From there it goes back through the
# tap's three steps, and arrives at **every** time step of $x$. There it is added to what comes down from the blocks
# above, since $x$ was read by both.
#
# ### Exercise 8.5: write a backward pass
#
# Given are `layernorm_backward(dy, cache)`, which returns `dx, dgain, dbias`, and `linear_backward(dy, cache)`,
# which returns `dx, dweight, dbias`. Return `dx` (T, N, D) and a dict with the gradients of `"weight"`, `"bias"`,
# `"norm.gain"` and `"norm.bias"`.
#
# <details><summary>Hint 1</summary>
#
# Three steps forward, three back, the last first: each gets what the one before it returned as its first value.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# After the linear layer you hold $dm$, (N, D). Each step has the share $1/T$ in the mean, so each $dx[t]$ is
# $dm / T$: `np.repeat(dm[None] / T, T, axis=0)`, with `T = cache.time.steps`.
#
# </details>


# %%
def distillation_tap_backward(dtap, cache):
    """dtap: (N, D_teacher). cache.norm, cache.linear, cache.time. Returns dx (T, N, D) and a dict."""
    # BEGIN SOLUTION 8.5
    da, dgain, dnorm_bias = layernorm_backward(dtap, cache.norm)
    dm, dweight, dbias = linear_backward(da, cache.linear)
    steps = cache.time.steps
    dx = np.repeat(dm[None] / steps, steps, axis=0)
    return dx, {"weight": dweight, "bias": dbias, "norm.gain": dgain, "norm.bias": dnorm_bias}
    # END SOLUTION


# %%
tap_back = checks.ex_08_5(distillation_tap_backward).use

# %% [markdown]
# Ours can leave the linear layer or the norm out, to measure what they are worth:

# %%
print(inspect.getsource(distillation_tap.distillation_tap_backward))

# %% [markdown]
# ## 7. In chunks, and in one pass
#
# Say that a whole split is to be compared, and that its hidden states do not fit into memory. Then it is done
# **in chunks**: cut out some rows, use them, forget them. And since a square's gradient needs nothing but the
# difference, which is at hand, loss and gradient are **fused**: each row is read once, and no cache is kept.
#
# ### Exercise 8.6: chunked, then fused
#
# $$L = \frac{1}{N D} \sum_{n,d} (f_{nd} - h_{nd})^2, \qquad df = \frac{2}{N D}\,(f - h)$$
#
# `target` is on disk: `target[start:stop]` cuts rows out, and refuses more than `chunk` of them at once. $N$ need not
# be a multiple of `chunk`.
#
# <details><summary>Hint 1</summary>
#
# `for start in range(0, N, chunk)`, and in it: the difference, its sum of squares onto a total, and its rows of the
# gradient. A slice beyond the end is cut short by itself.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# The mean of the chunks' means is wrong where the last chunk is shorter. Add up sums, and divide once, after the
# loop, by `features.size`. The gradient is divided by `features.size` too, not by the chunk's.
#
# </details>


# %%
def feature_loss(features, target, chunk):
    """features: (N, D); target: (N, D), on disk. Returns L and dfeatures (N, D)."""
    # BEGIN SOLUTION 8.6
    total, dfeatures = 0.0, np.empty_like(features)
    for start in range(0, len(features), chunk):
        stop = start + chunk
        gap = features[start:stop] - target[start:stop]
        total += (gap**2).sum()
        dfeatures[start:stop] = 2 * gap / features.size
    return total / features.size, dfeatures
    # END SOLUTION


# %%
by_chunks = checks.ex_08_6(feature_loss).use

# %% [markdown]
# With it, a look at the whole files. What would a student pay that has learnt nothing, and answers zero? And one
# that answers with the mean row, whatever the word? What lies below the second figure was learnt about *words*.

# %%
for layer, hidden in cache.hidden.items():
    zero = np.zeros(hidden.shape)
    mean_row = np.mean(hidden, axis=0, dtype=np.float64)
    answers = {"zero": zero, "the mean row": zero + mean_row}
    prices = {name: by_chunks(rows, hidden, 256)[0] for name, rows in answers.items()}
    print(f"layer {layer}:", ", ".join(f"{name} costs {loss:.3f}" for name, loss in prices.items()))

# %% [markdown]
# In training, a batch is the chunk: its rows are cut out of the memory map, and cast to the student's float32.

# %%
print(inspect.getsource(loop.batch_targets))

# %% [markdown]
# ## 8. Word rows
#
# The student's table of word embeddings has a row of D_emb numbers for each of $V$ words, and so has the teacher's.
# The **embedding loss** holds the one to the other. BERT knows 30,522 words, a batch some hundred of them. So the loss
# looks at the batch's **distinct** ids alone, $R$ of them. With $E$ for the student's table and $W$ for the teacher's
# (no longer the tap's weight):
#
# $$L_\text{emb} = \frac{1}{R\,D_\text{emb}} \sum_{r \,\in\, \text{distinct ids}} \sum_d (E_{rd} - W_{rd})^2 .$$
#
# ### Exercise 8.7: derive, then implement
#
# Return the loss, the distinct ids in ascending order, and the gradient of *their* rows of $E$, (R, D_emb). All other
# rows of $dE$ are zero, and nobody writes them down.
#
# <details><summary>Hint 1</summary>
#
# `np.unique(ids)` gives each id once, ascending. `embedding[distinct]` are the rows that count.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# From here it is the loss of exercise 8.6, between two arrays of R rows: the mean of the squared difference, and
# twice the difference over its size, R D_emb.
#
# </details>


# %%
def embedding_loss(embedding, word_rows, ids):
    """embedding, word_rows: E and W (V, D_emb); ids: (N,). Returns L, ids (R,), rows (R, D_emb)."""
    # BEGIN SOLUTION 8.7
    distinct = np.unique(ids)
    gap = embedding[distinct] - word_rows[distinct]
    return (gap**2).mean(), distinct, 2 * gap / gap.size
    # END SOLUTION


# %%
rows_loss = checks.ex_08_7(embedding_loss).use

# %% [markdown]
# The teacher's rows are scaled first. MiniLM's numbers are small: where no layer norm stands between, a neuron with
# a threshold of 1 would hardly notice them. The scale is written into the run's `config.toml`.

# %%
word_rows, scale = teacher_word_rows(cache)
print(f"the teacher's rows: standard deviation {cache.word_embeddings.std(dtype=np.float64):.3f},",
      f"times {scale:.1f} = {word_rows.std():.3f}")  # fmt: skip
start = np.random.default_rng(8).standard_normal(word_rows.shape)
loss, distinct, gradient = rows_loss(start, word_rows, cache.ids[: cache.offsets[32]])
print(
    f"32 sentences: {cache.offsets[32]} tokens, {len(distinct)} distinct ids; random rows pay {loss:.2f}"
)

# %% [markdown]
# ## 9. How the weights combine
#
# A gradient is linear: $dL = 0.1\,dL_\text{CE} + 1.0\,dL_\text{KL} + 0.1 \sum dL_\text{feat} + 0.1\,dL_\text{emb}$. The weights go
# into the upstream `dloss` of each. On the logits two losses meet, and on the word rows all four: their gradients
# are **added**. Here is the whole sum, forward:

# %%
print(inspect.getsource(distill.distillation_forward))

# %% [markdown]
# Which loss moves which part? A small student with random weights and random targets, each loss alone, with its
# weight. The number is the norm of the gradient of that part's weights. A white field: no gradient at all.

# %%
training_plots.gradient_norms(
    gradients_by_loss(), title="Which loss moves what, weighted 0.1, 1.0, 0.1, 0.1"
)

# %% [markdown]
# ### Exercise 8.8: read a plot
#
# - `"parts that the features move"` and `"parts that the embedding loss moves"`: how many of the seven,
# - `"strongest at the head"`: which loss,
# - `"weakest at block 1"`: which of the losses that reach it,
# - `"CE at the head, were its weight 1"`: the norm that would then stand there.
#
# <details><summary>Hint 1</summary>
#
# Count the coloured fields of a row. Then think why the white ones are white: what does the loss look at, and what
# was that made from?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# The features' row is white at the head alone. A gradient is linear in its weight: from 0.1 to 1 is ten times.
#
# </details>


# %%
def read_map():
    """Return three numbers and two names of losses under the names above."""
    # BEGIN SOLUTION 8.8
    return {
        "parts that the features move": 6,
        "parts that the embedding loss moves": 1,
        "strongest at the head": "KL",
        "weakest at block 1": "features",
        "CE at the head, were its weight 1": 1.3,
    }
    # END SOLUTION


# %%
checks.ex_08_8(read_map)

# %% [markdown]
# In stage 1 only the two lower rows are there. So the head learns nothing in stage 1, and begins stage 2 as it was
# drawn.
#
# Is a step ten times as long where all four weights are ten times as large? Not with AdamW, which divides each number
# of a gradient by its own running size. Only the ratios of the weights count. Its first step:

# %%
for factor in (1, 10):
    params = {"weight": np.zeros(3)}
    grads = {"weight": factor * np.array([0.3, -0.02, 0.001])}
    adamw_step(params, grads, adamw_init(params), learning_rate=0.01, weight_decay=0.0)
    print(f"gradient times {factor:2}: the weights move by {params['weight']}")

# %% [markdown]
# ### Exercise 8.9: find the bug
#
# Four wrong backward passes. What they call is right. `distillation_backward` gives `dlogits`, the list of `dtaps` (the
# case has a loss at the second alone) and `dembedding`; a loss whose cache is `None` is left out.
#
# <details><summary>Hint 1</summary>
#
# Read the reports first: which arrays are wrong, and which right? A wrong `dlogits` beside a right tap has its
# mistake in CE or KL.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# In B `_replace(ce=None)` takes the label's loss away before `dlogits` is made: what is left is the divergence's
# alone, in place of the sum of both. B is "loss overwritten".
#
# </details>

# %%
show_bugs(BUGS)


# %%
def find_bugs():
    """Return the mistake of each: {"A": "...", "B": "...", "C": "...", "D": "..."}."""
    # BEGIN SOLUTION 8.9
    return {
        "A": "left out: layernorm",
        "B": "loss overwritten",
        "C": "gradient through the teacher",
        "D": "loss weight missing",
    }
    # END SOLUTION


# %%
checks.ex_08_9(find_bugs)

# %% [markdown]
# The right one:

# %%
print(inspect.getsource(distill.distillation_backward))

# %% [markdown]
# ## What to take along
#
# - A teacher cache is what BERT said, once: ids, offsets, labels, logits, hidden states. It is read by memory map, a
#   batch's rows at a time.
# - CE: $q$ minus one-hot. KL: $q - p$, times $\tau$. Both over $B$. At a high temperature KL compares logits, and $\tau^2$ keeps
#   its gradient alive.
# - Features and word rows are squares: $2 \cdot$ difference $/$ size. The features go back through a tap, and $1/T$ of it
#   arrives at each time step.
# - A mean in chunks is a sum that is divided once.
# - Gradients add up where losses meet. The embedding loss never enters the network, and the features never reach
#   the head.
