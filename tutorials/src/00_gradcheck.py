# %% [markdown]
# # 00 How to check a gradient
#
# In this course you write backward passes by hand. A backward pass with one wrong term often trains
# all the same, only worse, and you would never know. So before the first one is written, this chapter
# builds the tool that proves it right. And it shows where that tool is blind: at a spike.
#
# **After this chapter you can** check any gradient by centred differences, choose the step and the
# upstream gradient, read the table that the course prints, and say why the differences of a spiking
# network are zero.
#
# **Time** about 45 minutes, five exercises. **You need** NumPy and the chain rule.
#
# How the exercises work: you write a function in place of `raise NotImplementedError(...)`, and run
# the cell below it. It prints a table, a verdict and, where something is wrong, the likely mistake.
# If you skip an exercise, the chapter goes on with our own answer.

# %%
import inspect

import numpy as np

from spikebert_np.analysis import neuron_plots as plots
from spikebert_np.checking import differences
from spikebert_np.checking import exercises as checks
from spikebert_np.checking.bug_hunt import show_bugs
from spikebert_np.checking.chapter_00 import BUGS, STEPS, difference_errors
from spikebert_np.checking.gradcheck import check_gradients
from spikebert_np.layers import activations
from spikebert_np.layers.lif import LIFNeuron, lif_backward, lif_forward

# %% [markdown]
# ## 1. One number in, one number out
#
# The derivative of $f$ at $x$ is a slope. Two ways to measure it with a small step $h$:
#
# $$\text{one-sided: } \frac{f(x+h) - f(x)}{h} = f'(x) + \frac{h}{2} f''(x) + \dots
# \qquad
# \text{centred: } \frac{f(x+h) - f(x-h)}{2h} = f'(x) + \frac{h^2}{6} f'''(x) + \dots$$
#
# The terms on the right come from Taylor's series. In the centred one the $f''$ terms of $+h$ and
# $-h$ cancel, and so the error falls with $h^2$: ten times less $h$ gives a hundred times less error.
# That is called **truncation**, and it asks for a small $h$.
#
# **Rounding** asks for a large one. A float64 holds about 16 digits. $f(x+h)$ and $f(x-h)$ agree in
# nearly all of them when $h$ is tiny, and their difference keeps only the last, wrong ones. Divided
# by $2h$ this is an error of about $10^{-16} / h$.
#
# ### Exercise 0.1: derive, then implement
#
# A layer has many inputs and many outputs, and a loss $L$ above it. The loss reaches the layer as the
# **upstream gradient** $dy = \partial L / \partial y$, of the shape of $y$. What the layer must hand
# back is
#
# $$dx_i = \sum_j dy_j\,\frac{\partial y_j}{\partial x_i},$$
#
# the *vector-Jacobian product*. Measure it: move one entry of $x$ at a time, by $h = 10^{-5}$ up and
# down, and put centred differences in place of $\partial y_j / \partial x_i$.
#
# <details><summary>Hint 1</summary>
#
# `for index in np.ndindex(x.shape):` walks over all entries. `f(x)` returns an array `y`; the sum over
# $j$ is `np.sum(... * dy)`.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Do not write to `x`: make a fresh `move = np.zeros_like(x)` for each entry, with `move[index] = h`,
# and take `f(x + move) - f(x - move)`. What distance lies between the two points?
#
# </details>


# %%
def numerical_vjp(f, x, dy):
    """f: array to array. x: an array. dy: of the shape of f(x). Returns dx, of the shape of x."""
    # BEGIN SOLUTION 0.1
    h = 1e-5
    dx = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        move = np.zeros_like(x)
        move[index] = h
        dx[index] = np.sum((f(x + move) - f(x - move)) * dy) / (2 * h)
    return dx
    # END SOLUTION


# %%
vjp = checks.ex_00_1(numerical_vjp).use

# %% [markdown]
# `vjp` is now your function if it passed, and ours if it did not. The tool that checks the rest of the
# course does the same, with care: it takes two step lengths, combines them to cancel the $h^2$ term, and
# notices kinks. You can pass over it now.

# %%
print(inspect.getsource(differences.differences))

# %% [markdown]
# ## 2. Which step?
#
# Below is the error of both formulas for $\sin$ at $x = 1$, over the step. Both axes are
# logarithmic, so a power law $h^p$ is a straight line of slope $p$.

# %%
plots.curves(
    STEPS,
    difference_errors(),
    title="Error of a difference",
    xlabel="step h",
    ylabel="absolute error",
    log=True,
)

# %% [markdown]
# ### Exercise 0.2: read a plot
#
# - `"order, one-sided"` and `"order, centred"`: the slope of each line's **right** branch, where
#   truncation rules: by how many powers of ten does the error grow when $h$ grows by one?
# - `"best step, one-sided"` and `"best step, centred"`: the power of ten of the step where each error
#   is least, such as `-3` for $10^{-3}$, to within one power: rounding makes the left branches jump.
#
# <details><summary>Hint 1</summary>
#
# Follow the blue line from $h = 10^{-4}$ to $10^{-2}$: two powers of ten to the right. How many up?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# The best step is where truncation and rounding are of one size. For the one-sided formula
# $h \approx 10^{-16}/h$, for the centred one $h^2 \approx 10^{-16}/h$. Solve both for $h$.
#
# </details>


# %%
def read_errors():
    """Return the four numbers under the names above."""
    # BEGIN SOLUTION 0.2
    return {
        "order, one-sided": 1,
        "order, centred": 2,
        "best step, one-sided": -8,
        "best step, centred": -5,
    }
    # END SOLUTION


# %%
checks.ex_00_2(read_errors)

# %% [markdown]
# At its best step the centred difference has ten or eleven right digits. A wrong term in a backward
# pass spoils the first or second. There is a wide gap between the two, and so a check can have a
# strict bound: this course uses a **relative error of the whole array**,
#
# $$\frac{\max|a - b|}{\max(\max|a|, \max|b|)},$$
#
# and asks for less than $10^{-7}$ for one layer; each table prints its own bound. An entry of its own may
# be near zero by chance; an error relative to that entry would be huge and mean nothing. That is why the
# array is judged whole.

# %% [markdown]
# ## 3. A backward pass of one line
#
# Every layer of the package is a pair. The forward pass returns its output and a **cache**, which holds
# what the backward pass will need. The backward pass takes the upstream gradient and that cache. Here
# is the forward pass of $y = \tanh(x)$:

# %%
print(inspect.getsource(activations.tanh_forward))

# %% [markdown]
# ### Exercise 0.3: derive, then implement
#
# Each $y$ depends on its own $x$ alone, so the sum over $j$ has one term:
#
# $$dx = dy \cdot \tanh'(x).$$
#
# Write $\tanh'(x)$ in terms of $y$, which is all that the cache holds: `cache.y`.
#
# <details><summary>Hint 1</summary>
#
# $\tanh = \sinh / \cosh$, $\sinh' = \cosh$, $\cosh' = \sinh$, and $\cosh^2 - \sinh^2 = 1$.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# The quotient rule gives $(\cosh^2 - \sinh^2) / \cosh^2 = 1 - \tanh^2$. And $\tanh(x)$ is $y$.
# Multiply by the upstream gradient.
#
# </details>


# %%
def tanh_backward(dy, cache):
    """dx from dy, both of the shape of x. cache.y is tanh(x)."""
    # BEGIN SOLUTION 0.3
    return dy * (1 - cache.y * cache.y)
    # END SOLUTION


# %%
tanh_back = checks.ex_00_3(tanh_backward).use

# %% [markdown]
# What the table says, column by column: the **array** whose gradient was checked and its **shape**;
# the relative **error**, and the **bound** that it must stay under; the **verdict**; and the entry where
# the two gradients are **furthest apart**.
#
# Your own two functions can be held against each other, too: `vjp` measures what `tanh_back` computes.

# %%
x, dy = np.random.default_rng(0).standard_normal((2, 3, 4))
_, cache = activations.tanh_forward(x)
measured = vjp(lambda x: activations.tanh_forward(x)[0], x, dy)
print(f"largest difference: {np.abs(tanh_back(dy, cache) - measured).max():.0e}")

# %% [markdown]
# The course's tool checks any pair. Try it: change the 3 below to a 2.


# %%
def cube_forward(x):
    return x**3, x


def cube_backward(dy, x):
    return dy * 3 * x**2


print(check_gradients(cube_forward, cube_backward, np.array([0.3, -1.2, 2.0])))

# %% [markdown]
# ## 4. Where a check is blind
#
# A check can only see what its numbers make visible. Four settings hide mistakes. (The words in the table
# come in chapters 01, 02 and 06; only the pattern matters here. Of layer norm you need one thing: it
# shifts and stretches each row to mean 0 and variance 1, then multiplies each column by its gain and adds
# its bias.)
#
# | setting | what it hides |
# |---|---|
# | all-ones upstream $dy$ | it asks for the gradient of $\sum y$. The outputs of softmax, and of layer norm with equal gains, have a constant sum: the right gradient is zero, and so are many wrong ones |
# | gains of 1, biases of 0 | a gain that was forgotten |
# | $\tau = 2$ | $1/\tau$ written for $1 - 1/\tau$: they are equal there |
# | $T = 1$ | everything that travels back in time |
#
# So the course draws everything at random: upstream gradients, gains, time constants, with at least
# three steps. And when two arrays of zeros agree, the verdict is **VOID**: not right, not wrong, no
# proof.
#
# Now the spike. It is a step, $S = \Theta(u)$: 0 for $u < 0$, 1 for $u \ge 0$. Its **smooth twin** is a
# curve that rises from 0 to 1 around $u = 0$. One such curve is
#
# $$\sigma(u) = \frac1\pi \arctan\!\Bigl(\frac{\pi}{2}\,\alpha u\Bigr) + \frac12,\qquad
# \sigma'(u) = \frac{\alpha / 2}{1 + (\frac{\pi}{2}\,\alpha u)^2}.$$
#
# ### Exercise 0.4: predict, then run
#
# With $h = 10^{-5}$, and without running anything:
#
# - `"spike at 0.3"`: the centred difference of $\Theta$ at $u = 0.3$,
# - `"spike at 0"`: the same at $u = 0$,
# - `"twin at 0"`: the centred difference of $\sigma$ with $\alpha = 2$ at $u = 0$,
# - `"zeros against zeros"`: the verdict where both gradients are all zero, a word,
# - `"layer norm, all ones"`: the largest entry of layer norm's $dx$ for gains of 1 and all-ones $dy$.
#
# <details><summary>Hint 1</summary>
#
# For each of the first three, write down $f(u + h)$ and $f(u - h)$ first. Only then subtract.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# At $u = 0$ the two points lie on both sides of the jump: $(1 - 0) / (2 \cdot 10^{-5})$. The twin is
# smooth there, so its difference is $\sigma'(0)$. For the last two, read the text above the formula.
#
# </details>


# %%
def predict():
    """Return the five answers under the names above."""
    # BEGIN SOLUTION 0.4
    return {
        "spike at 0.3": 0,
        "spike at 0": 5e4,
        "twin at 0": 1,
        "zeros against zeros": "VOID",
        "layer norm, all ones": 0,
    }
    # END SOLUTION


# %%
checks.ex_00_4(predict)

# %% [markdown]
# So a difference of a spike is zero everywhere but within $h$ of one point, and there it is as large as
# you like: it grows as $h$ shrinks. A network of spikes is a staircase. Its true gradient is zero almost
# everywhere, and that is not a failure of the method: it is the right answer, and useless.
#
# Here is a layer of spiking neurons under the tool. Its backward pass is right. The verdict is FAIL
# all the same, and the tool even guesses at a mistake: it was given zeros to compare with. The note
# under the table says so. (`detach_reset=False` is chapter 04's: take it as given.)

# %%
x = 1.0 + np.random.default_rng(0).standard_normal((4, 3, 2))
spiking = LIFNeuron(tau=3.0, detach_reset=False)
print(check_gradients(lambda x: lif_forward(x, neuron=spiking), lif_backward, x))

# %% [markdown]
# And its smooth twin. The neuron fires $\sigma(u)$ in place of $\Theta(u)$, and **the backward pass is the
# same code, line for line**. Now the differences are of a smooth function and can be compared.

# %%
smooth = LIFNeuron(tau=3.0, detach_reset=False, spiking=False)
print(check_gradients(lambda x: lif_forward(x, neuron=smooth), lif_backward, x))

# %% [markdown]
# This is how every spiking layer of the course is checked. It proves that the chain rule is coded
# right. It does not make the result the gradient of the *spiking* network: that one is zero. Used with
# hard spikes, the same code gives a **surrogate gradient**, in general the gradient of no loss at all.
# That it works is found by training. Chapters 03 and 04 go on from here.

# %% [markdown]
# ## 5. Find the bug
#
# ### Exercise 0.5: find the bug
#
# Three backward passes of a linear layer $y = xW + b$, where `x` is `(T, N, D_in)`: T steps, N words.
# One mistake each. `flat(x)` is `x` with all axes but the last made one. The reports are the tool's,
# without the diagnosis. Name the mistakes: `"A"`, `"B"` and `"C"`.
#
# <details><summary>Hint 1</summary>
#
# Start with the report: which array failed, the others being right? Then read only that line.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# $W$ and $b$ are read by every step and every word, and so each of these adds a share to $dW$ and
# $db$. Take B: its `dbias` is a `mean` over them, where each share counts whole. So B is "averaged, not
# summed".
#
# </details>

# %%
show_bugs(BUGS)


# %%
def find_bugs():
    """Return the mistake of each: {"A": "...", "B": "...", "C": "..."}."""
    # BEGIN SOLUTION 0.5
    return {"A": "transposed", "B": "averaged, not summed", "C": "last step only"}
    # END SOLUTION


# %%
checks.ex_00_5(find_bugs)

# %% [markdown]
# ## What to take along
#
# - Centred differences, float64, $h \approx 10^{-5}$: ten right digits.
# - Random upstream, random everything. Zeros that agree prove nothing.
# - A spike's differences are zero. Check its smooth twin: the backward pass is the same code.
# - What is proved is the chain rule, and not that a surrogate gradient is a gradient.
