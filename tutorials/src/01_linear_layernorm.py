# %% [markdown]
# # 01 Linear and layer norm, backward by hand
#
# SpikeBERT is made of one unit, used over and over: a linear layer, a layer norm, a spiking neuron.
# This chapter derives the backward passes of the first two. Nothing spikes yet. But the two tricks you
# learn here are all that the rest needs: **sum over every place that reads a number**, and **follow
# every path on which a number reaches the output**.
#
# **After this chapter you can** derive both backward passes, write them for arrays with any leading
# axes, say what each term of layer norm's is for, and find a wrong term from a report.
#
# **Time** about 50 minutes, five exercises. **You need** NumPy and the chain rule. No earlier chapter.
#
# How the exercises work: you write a function in place of `raise NotImplementedError(...)`, and run
# the cell below it. It prints a table, a verdict and, where something is wrong, the likely mistake.
# If you skip an exercise, the chapter goes on with our own answer. The check takes centred differences
# of the forward pass, with a random upstream gradient (chapter 00 tells how).

# %%
import inspect

import numpy as np

from spikebert_np.analysis import neuron_plots as plots
from spikebert_np.checking import exercises as checks
from spikebert_np.checking.bug_hunt import show_bugs
from spikebert_np.checking.chapter_01 import BUGS, SPREADS, sizes
from spikebert_np.layers import layernorm, linear

# %% [markdown]
# ## 1. Linear
#
# A batch of rows $x$ goes through $y = xW + b$. In this course $x$ is `(T, N, D_in)`: T steps of N words.
# Every row meets the same $W$ and the same $b$:
#
# $$y_{rj} = \sum_i x_{ri}\,W_{ij} + b_j,\qquad r = 1 \dots T N .$$
#
# A loss $L$ stands above. It hands down the **upstream gradient** $dy_{rj} = \partial L/\partial y_{rj}$.
# For each number $p$ that went in, the chain rule asks for the sum over all outputs that it touches:
#
# $$\frac{\partial L}{\partial p} = \sum_{r,j} dy_{rj}\,\frac{\partial y_{rj}}{\partial p}.$$
#
# Take $b_j$. It touches $y_{rj}$ of every row $r$, each with derivative 1. So
# $db_j = \sum_r dy_{rj}$: **a sum over rows, because every row reads it**.
#
# ### Exercise 1.1: derive, then implement
#
# Do the same for $W_{ij}$ and for $x_{ri}$, then write each as a matrix product. A check that never
# fails to help: $dW$ has the shape of $W$, $dx$ that of $x$, and there is only one product that fits.
#
# <details><summary>Hint 1</summary>
#
# $W_{ij}$ touches $y_{rj}$ of every row, with derivative $x_{ri}$: $dW_{ij} = \sum_r x_{ri}\,dy_{rj}$.
# And $x_{ri}$ touches all $y_{rj}$ of its own row, with derivative $W_{ij}$.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Over rows, $dW = x^\top dy$ and $dx = dy\,W^\top$. To have rows, make one axis of T and N:
# `x.reshape(-1, x.shape[-1])`. Give $dx$ its three axes back.
#
# </details>


# %%
def linear_backward(dy, cache):
    """dy: (T, N, D_out). cache.x: (T, N, D_in), cache.weight: (D_in, D_out).

    Returns dx (T, N, D_in), dweight (D_in, D_out), dbias (D_out,).
    """
    # BEGIN SOLUTION 1.1
    upstream = dy.reshape(-1, dy.shape[-1])
    inputs = cache.x.reshape(-1, cache.x.shape[-1])
    dx = upstream @ cache.weight.T
    return dx.reshape(cache.x.shape), inputs.T @ upstream, upstream.sum(axis=0)
    # END SOLUTION


# %%
checks.ex_01_1(linear_backward)

# %% [markdown]
# Ours. `events` is a faster way for inputs that are mostly zeros, as spikes are (chapter 10).

# %%
print(inspect.getsource(linear.linear_backward))

# %% [markdown]
# ## 2. Layer norm
#
# Layer norm takes one row $x_1 \dots x_D$, the width of one word at one step, and makes its mean 0 and its
# variance 1. Then a gain and a bias, learned, one per column:
#
# $$\mu = \frac1D\sum_i x_i,\qquad \sigma^2 = \frac1D\sum_i (x_i - \mu)^2,\qquad
# \hat x_i = \frac{x_i - \mu}{\sqrt{\sigma^2 + \varepsilon}},\qquad y_i = g_i\,\hat x_i + b_i .$$
#
# The gain and the bias are read by every row, so $db_i = \sum_r dy_{ri}$ and
# $dg_i = \sum_r dy_{ri}\,\hat x_{ri}$. The path into the row itself begins with
#
# $$d\hat x_i = dy_i\,g_i .$$
#
# From $\hat x$ to $x$ there are **three paths**. Write $s = 1/\sqrt{\sigma^2 + \varepsilon}$, and
# $c_i = x_i - \mu$, so that $\hat x_i = c_i\,s$.
#
# **1. Directly.** $c_i$ stands in $\hat x_i$: its gradient gets $d\hat x_i\, s$.
#
# **2. By the variance.** All $c_j$ stand in $\sigma^2$, and $\sigma^2$ in $s$, and $s$ in every $\hat x_j$:
#
# $$ds = \sum_j d\hat x_j\,c_j,\qquad
# \frac{\partial s}{\partial c_i} = -\tfrac12\,(\sigma^2+\varepsilon)^{-3/2}\;\frac{2 c_i}{D} = -\frac{s^3 c_i}{D},$$
#
# so that $c_i$ gets $-\frac{s^3 c_i}{D}\sum_j d\hat x_j c_j$. With $c = \hat x / s$ this is
#
# $$-\,s\;\hat x_i\;\underbrace{\tfrac1D\textstyle\sum_j d\hat x_j\,\hat x_j}_{\text{a mean over the row}} .$$
#
# **3. By the mean.** $x_i$ stands in its own $c_i$, and by $\mu$ in all of them: $c_j = x_j - \frac1D\sum_i x_i$.
# So $dx_i = dc_i - \frac1D\sum_j dc_j$: **subtract the row's mean**.
#
# ### Exercise 1.2: write a backward pass
#
# Put the three together. First sum paths 1 and 2 into $dc_i$, then apply path 3. One of the means that
# appear is zero.
#
# <details><summary>Hint 1</summary>
#
# $dc_i = s\,\bigl(d\hat x_i - \hat x_i\,m\bigr)$ with $m = \operatorname{mean}(d\hat x\,\hat x)$. Its mean over
# the row: what is the mean of $\hat x$?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# The mean of $\hat x$ is zero, so that of $dc$ is $s \operatorname{mean}(d\hat x)$. Path 3 takes it from $dc_i$.
# Means run over the last axis, `keepdims=True`; `dgain` and `dbias` are sums over all axes but the last.
#
# </details>


# %%
def layernorm_backward(dy, cache):
    """dy: (T, N, D). cache.x_hat: (T, N, D), cache.inv_std: (T, N, 1), cache.gain: (D,).

    Returns dx (T, N, D), dgain (D,), dbias (D,).
    """
    # BEGIN SOLUTION 1.2
    x_hat = cache.x_hat
    rows = tuple(range(dy.ndim - 1))
    d = dy * cache.gain
    along_ones = d.mean(axis=-1, keepdims=True)
    along_x_hat = (d * x_hat).mean(axis=-1, keepdims=True)
    dx = cache.inv_std * (d - along_ones - x_hat * along_x_hat)
    return dx, (dy * x_hat).sum(axis=rows), dy.sum(axis=rows)
    # END SOLUTION


# %%
back = checks.ex_01_2(layernorm_backward).use

# %% [markdown]
# Ours:

# %%
print(inspect.getsource(layernorm.layernorm_backward))

# %% [markdown]
# ## 3. What the two means are for
#
# Look at the result again. From $d\hat x$ the part along the vector of ones is taken out, and the part along
# $\hat x$. These are the two moves of $x$ that layer norm undoes: shift a row, and stretch it about its mean.
# A move that changes no output has no gradient.
#
# ### Exercise 1.3: predict, then run
#
# For one row, $\varepsilon$ so small that it does not count, all else random. The first two are numbers:
# `"sum of dx"` $= \sum_i dx_i$, and `"sum of dx x_hat"` $= \sum_i dx_i \hat x_i$. The others ask by what factor
# the whole of $dx$ is multiplied: `"dy times 10"`, `"gain times 10"`, `"x plus 3"` (to every entry) and
# `"x times 10"`.
#
# <details><summary>Hint 1</summary>
#
# For the last two: what happens to $\hat x$, and what to $s$?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# $x + 3$ changes neither. $10x$ leaves $\hat x$ as it is, and makes $s$ ten times smaller.
#
# </details>


# %%
def predict():
    """Return the six numbers under the names above."""
    # BEGIN SOLUTION 1.3
    return {
        "sum of dx": 0,
        "sum of dx x_hat": 0,
        "dy times 10": 10,
        "gain times 10": 10,
        "x plus 3": 1,
        "x times 10": 0.1,
    }
    # END SOLUTION


# %%
checks.ex_01_3(predict)

# %% [markdown]
# With your own pass, or ours: the two sums of every row, over all steps and words.

# %%
rng = np.random.default_rng(0)
x, dy = rng.standard_normal((2, 3, 4, 8))
_, cache = layernorm.layernorm_forward(x, 1 + 0.3 * rng.standard_normal(8), np.zeros(8))
dx, _, _ = back(dy, cache)
print("largest |sum of dx|      ", np.abs(dx.sum(axis=-1)).max())
print("largest |sum of dx x_hat|", np.abs((dx * cache.x_hat).sum(axis=-1)).max())

# %% [markdown]
# The second is small and not zero: that is $\varepsilon$, beside a variance of about 1. A stretched row is
# not quite undone.
#
# This is why an all-ones upstream is a bad test. With gains of 1 it has a part along the ones alone: the
# right $dx$ is zero, and so is that of a pass without the variance's term.

# %% [markdown]
# ## 4. Find the bug
#
# ### Exercise 1.4: find the bug
#
# Three backward passes of layer norm, one mistake each. `mean` is the mean over the last axis, and
# `norm_parameters(dy, x_hat)` gives `dgain` and `dbias`. The reports are the tool's, without the
# diagnosis. Name the mistakes: `"A"`, `"B"` and `"C"`.
#
# <details><summary>Hint 1</summary>
#
# In which of them is `dx` right? Then only one line of that one can be at fault.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Of the other two, look for the three factors $g$, $\operatorname{mean}(d\hat x)$ and
# $\hat x \operatorname{mean}(d\hat x\,\hat x)$. Each lacks one.
#
# </details>

# %%
show_bugs(BUGS)


# %%
def find_bugs():
    """Return the mistake of each: {"A": "...", "B": "...", "C": "..."}."""
    # BEGIN SOLUTION 1.4
    return {
        "A": "variance term missing",
        "B": "gain gradient without x_hat",
        "C": "gain left out",
    }
    # END SOLUTION


# %%
checks.ex_01_4(find_bugs)

# %% [markdown]
# ## 5. What $\varepsilon$ is for
#
# Below, one row of 64 numbers is stretched and shrunk, and the largest $|dx_i|$ is drawn over its standard
# deviation. $\varepsilon = 10^{-5}$. Both axes are logarithmic: a power law is a straight line.

# %%
plots.curves(
    SPREADS,
    {"layer norm, eps = 1e-5": sizes()},
    title="How large layer norm's input gradient is",
    xlabel="standard deviation of the row",
    ylabel="largest |dx| (per unit of dy)",
    log=True,
)

# %% [markdown]
# ### Exercise 1.5: read a plot
#
# - `"slope, right"` and `"slope, left"`: the slopes of the two branches, in powers of ten,
# - `"bend"`: the power of ten of the standard deviation where they would meet,
# - `"largest"`: the power of ten of the largest value drawn.
#
# <details><summary>Hint 1</summary>
#
# $dx$ is proportional to $s = 1/\sqrt{\sigma^2 + \varepsilon}$. Which of the two terms counts on each side?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# On the right $s \approx 1/\sigma$, on the left $s \approx 1/\sqrt\varepsilon$. They meet at $\sigma = \sqrt\varepsilon$.
#
# </details>


# %%
def read_sizes():
    """Return the four numbers under the names above."""
    # BEGIN SOLUTION 1.5
    return {"slope, right": -1, "slope, left": 0, "bend": -2.5, "largest": 2.9}
    # END SOLUTION


# %%
checks.ex_01_5(read_sizes)

# %% [markdown]
# A row that is nearly constant gets a gradient hundreds of times larger than one of spread 1. Without
# $\varepsilon$ there would be no bound at all, and a row of equal numbers would be divided by zero.
#
# ## What to take along
#
# - A number that many rows read collects a sum. `dbias`, `dweight` and `dgain` are sums over steps and words.
# - Count the paths. A term that is missing is a path that was forgotten.
# - A move of the input that changes no output has no gradient. Use it as a test of your own.
