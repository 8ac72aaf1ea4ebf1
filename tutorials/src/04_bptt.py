# %% [markdown]
# # 04 Backpropagation through a LIF neuron
#
# Chapter 02 ran a neuron forward: charge, fire, reset. Now a loss stands above its spikes and asks: how
# would each input have to change? The answer walks back through the same three lines, first for one
# step, then for T. On its way it meets the reset, where two answers are in use.
#
# **After this chapter you can** write backpropagation through time for a LIF neuron, with its reset
# attached or detached, check both, and say how far back in time a gradient reaches.
#
# **Time** about 60 minutes, six exercises. **You need** the three lines of chapter 02, and from chapter
# 03 that a spike's slope is replaced by a surrogate's; both are repeated here.
#
# How the exercises work: you write a function in place of `raise NotImplementedError(...)`, and run
# the cell below it. It prints a table, a verdict and, where something is wrong, the likely mistake.
# If you skip an exercise, the chapter goes on with our own answer.

# %%
import inspect
from dataclasses import replace

import numpy as np

from spikebert_np.analysis import neuron_plots as plots
from spikebert_np.analysis.sliders import sliders
from spikebert_np.checking import exercises as checks
from spikebert_np.checking.bug_hunt import show_bugs
from spikebert_np.checking.chapter_04 import BUGS, NEURON, flow
from spikebert_np.checking.gradcheck import check_gradients
from spikebert_np.layers import lif
from spikebert_np.layers.lif import LIFNeuron, lif_forward
from spikebert_np.layers.surrogate import SURROGATES

# %% [markdown]
# ## 1. The graph of one step
#
# $$
# \begin{aligned}
# \text{charge}\quad & H[t] = (1 - \tfrac1\tau)\,V[t-1] + \tfrac1\tau\,(X[t] + v_\text{reset})\\
# \text{fire}\quad   & S[t] = \Theta(H[t] - v_\text{th})\\
# \text{reset}\quad  & V[t] = S[t]\,v_\text{reset} + (1 - S[t])\,H[t]
# \end{aligned}
# $$
#
# (The charge is chapter 02's, sorted by what it reads.) Two arrows leave the step: $S[t]$ goes up to the
# loss, $V[t]$ on to the next step. So two gradients arrive from outside, with the same names in code:
#
# - `ds` $= \partial L / \partial S[t]$, from above,
# - `dv` $= \partial L / \partial V[t]$, from step $t+1$: all that the later steps feel of this one.
#
# And two are to be handed back: `dx` $= \partial L / \partial X[t]$, and `dv_before`
# $= \partial L / \partial V[t-1]$, which step $t-1$ will call its `dv`.
#
# In between stands `dh` $= \partial L / \partial H[t]$. $H$ is read twice, by the fire and by the reset,
# so `dh` is a sum of two terms.
#
# - **Through the spike.** $\Theta'$ is zero or infinite. In its place stands the slope of a surrogate,
#   $\sigma'(H[t] - v_\text{th})$, for short $\sigma'[t]$. This is the one line that is not calculus.
# - **Through the reset.** $V$ depends on $H$ directly, with the factor $1 - S$, and by way of $S$. The
#   second path is often cut: one treats the $S$ in the reset as a constant. That is a **detached** reset,
#   and SpikeBERT's. We take it first.
#
# ### Exercise 4.1: derive, then implement
#
# $$
# dH = \underbrace{dV\,(1 - S)}_{\text{through the reset}} + \underbrace{dS \cdot \sigma'}_{\text{through the spike}},
# \qquad dX = \;?\;, \qquad dV_\text{before} = \;?
# $$
#
# Derive the last two from the charge, and write the step. The slope is given.
#
# <details><summary>Hint 1</summary>
#
# $H$ depends on $X[t]$ and on $V[t-1]$. What stands before each in the charge?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# $dX = dH / \tau$. $dV_\text{before}$ has the factor of $V[t-1]$ in the charge, and it too starts from `dh`,
# not from `dx`.
#
# </details>


# %%
def slope(h, neuron):
    """The surrogate's slope at H - v_th, of the shape of h."""
    return SURROGATES[neuron.surrogate].derivative(h - neuron.v_th, neuron.alpha)


# %%
def lif_step_backward(ds, dv, h, s, neuron):
    """One step back, hard reset, detached. All arrays of one shape. Returns dx and dv_before."""
    # BEGIN SOLUTION 4.1
    dh = dv * (1 - s) + ds * slope(h, neuron)
    return dh / neuron.tau, dh * (1 - 1 / neuron.tau)
    # END SOLUTION


# %%
step_back = checks.ex_04_1(lif_step_backward).use

# %% [markdown]
# How was that checked, if a spike's differences are zero? On the neuron's **smooth twin**: it fires
# $\sigma(H - v_\text{th})$, a smooth curve from 0 to 1, in place of $\Theta$, and its reset is held at its
# spikes (section 4). Your code did not notice: it is the same for both. With the twin $S$ is a number
# between 0 and 1.

# %% [markdown]
# ## 2. T steps
#
# Forward, $V$ was carried from step to step. Backward, `dv` is, from the last step to the first. After
# the last step nothing reads $V$, so the walk starts with `dv = 0`.
#
# ### Exercise 4.2: write a backward pass
#
# Write the loop. `cache.h` and `cache.s` hold $H$ and $S$ of all steps, `(T, N, D)`; `cache.neuron` the
# constants. Use `step_back(ds, dv, h, s, neuron)`.
#
# <details><summary>Hint 1</summary>
#
# `reversed(range(T))` counts T-1, ..., 0. At each step `dv` is replaced by what the step hands back.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `dx = np.empty_like(ds)` and `dv = np.zeros_like(ds[0])`. Then one line in the loop: unpack what
# `step_back` returns for step `t` into `dx[t], dv`.
#
# </details>


# %%
def lif_backward(ds, cache):
    """dx (T, N, D) from ds (T, N, D)."""
    # BEGIN SOLUTION 4.2
    dx = np.empty_like(ds)
    dv = np.zeros_like(ds[0])
    for t in reversed(range(len(ds))):
        dx[t], dv = step_back(ds[t], dv, cache.h[t], cache.s[t], cache.neuron)
    return dx
    # END SOLUTION


# %%
back = checks.ex_04_2(lif_backward).use

# %% [markdown]
# That is backpropagation through time. Ours, once more with a line for the compiled twin of chapter 10:

# %%
print(inspect.getsource(lif.lif_backward))

# %% [markdown]
# Unrolled, it says how much a spike at step $t$ owes to an input at an earlier step $r$:
#
# $$\frac{\partial S[t]}{\partial X[r]} = \sigma'[t]\;\Bigl[\prod_{k=r}^{t-1} (1 - \tfrac1\tau)\,(1 - S[k])\Bigr]\;\frac1\tau .$$
#
# Each step back costs the factor $1 - 1/\tau$. And a single spike on the way makes the product zero: the
# hard reset has wiped out what was there before, and no gradient passes it.
#
# Section 6 shows it as a picture. First, the path that was cut.

# %% [markdown]
# ## 3. The reset, attached
#
# If the $S$ in the reset is *not* held constant, it is one more path from $H$ to $V$: had the neuron fired a
# little more, its membrane would have been lower. From $V = S\,v_\text{reset} + (1 - S)\,H$,
#
# $$\frac{\partial V}{\partial S} = v_\text{reset} - H.$$
#
# ### Exercise 4.3: derive, then implement
#
# $S$ now gets a gradient from two sides: `ds` from above, and `dv` times $\partial V/\partial S$. Both go on
# through the slope. Write the step with the attached reset.
#
# <details><summary>Hint 1</summary>
#
# One line of exercise 4.1 changes: what is multiplied by the slope.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# In place of $dS$ stands $dS + dV\,\dfrac{\partial V}{\partial S}$. The rest is as before.
#
# </details>


# %%
def attached_step(ds, dv, h, s, neuron):
    """One step back, hard reset, attached. All arrays of one shape. Returns dx and dv_before."""
    # BEGIN SOLUTION 4.3
    ds_all = ds + dv * (neuron.v_reset - h)
    dh = dv * (1 - s) + ds_all * slope(h, neuron)
    return dh / neuron.tau, dh * (1 - 1 / neuron.tau)
    # END SOLUTION


# %%
checks.ex_04_3(attached_step)

# %% [markdown]
# Ours has both, the other resets, and an input that is not divided by $\tau$ (`decay_input` False):

# %%
print(inspect.getsource(lif.lif_step_backward))

# %% [markdown]
# ## 4. The frozen trace
#
# Which of the two do finite differences confirm? A difference moves $X$, runs the whole forward pass
# again, and sees every path from $X$ to $S$. One can also **hold the reset**: run once, keep its spikes,
# and reset with *those* while $X$ is moved (`lif_forward(x, neuron=..., frozen=trace)`). Then the reset is
# a constant for the differences too.
#
# ### Exercise 4.4: predict, then run
#
# A smooth twin, T = 4. Do the differences agree with the backward pass? `"yes"` or `"no"`, for
# `"attached, reset moves"`, `"attached, reset held"`, `"detached, reset moves"`,
# `"detached, reset held"`, and `"detached, reset moves, T = 1"`.
#
# <details><summary>Hint 1</summary>
#
# Two lists of paths from $X$ to $S$: those the backward pass counts, and those the differences see. They
# agree where the lists are the same.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# With T = 1, who reads the $V$ that the reset made?
#
# </details>


# %%
def predict():
    """Return "yes" or "no" under each of the five names above."""
    # BEGIN SOLUTION 4.4
    return {
        "attached, reset moves": "yes",
        "attached, reset held": "no",
        "detached, reset moves": "no",
        "detached, reset held": "yes",
        "detached, reset moves, T = 1": "yes",
    }
    # END SOLUTION


# %%
checks.ex_04_4(predict)

# %% [markdown]
# Here is the detached one, first with the reset moving, then held. The first table is not a mistake in the
# code: the tool has seen that the differences are those of another network, and says VOID.

# %%
x = 0.9 + 0.8 * np.random.default_rng(4).standard_normal((4, 3, 2))
twin = LIFNeuron(tau=3.0, v_th=0.5, spiking=False)
print(check_gradients(lambda x: lif_forward(x, neuron=twin), lif.lif_backward, x))
_, trace = lif_forward(x, neuron=twin)
print(check_gradients(lambda x: lif_forward(x, neuron=twin, frozen=trace), lif.lif_backward, x))

# %% [markdown]
# Neither is wrong. Attached, the code is the derivative of the smooth twin. Detached, it is that of a twin
# whose reset is given. For hard spikes both are surrogate gradients, in general the gradient of no loss.

# %% [markdown]
# ## 5. Find the bug
#
# ### Exercise 4.5: find the bug
#
# Three wrong steps. `through_the_reset` (it gives `dV (1 - S)`, and `ds` with the attached term where
# there is one), `through_the_charge` (it gives `dx` and `dv_before` from `dh`) and `slope` are right.
# `neuron.decay_input` says whether the charge divides the input by $\tau$, as that of section 1 does.
#
# <details><summary>Hint 1</summary>
#
# Write the right step beside each, line by line, and underline what differs.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# In B, `dv_before` is `dh / neuron.tau`: that is the factor of the input. So B is "1/tau for 1 - 1/tau".
# Of the other two, one has the same line at fault.
#
# </details>

# %%
show_bugs(BUGS)


# %%
def find_bugs():
    """Return the mistake of each: {"A": "...", "B": "...", "C": "..."}."""
    # BEGIN SOLUTION 4.5
    return {
        "A": "surrogate on the carried gradient",
        "B": "1/tau for 1 - 1/tau",
        "C": "nothing carried back",
    }
    # END SOLUTION


# %%
checks.ex_04_5(find_bugs)

# %% [markdown]
# ## 6. How far back does a gradient go?
#
# Four neurons, six steps. Each gets a weak input at all steps, and neurons 1, 2 and 3 one strong push that
# makes them fire (the dots). The loss reads the last step's spikes alone. Colour is $\partial L/\partial X$.

# %%
detached, spikes = flow(NEURON)
attached, _ = flow(replace(NEURON, detach_reset=False))
plots.gradient_map(
    {"Reset detached": detached, "Reset attached": attached},
    spikes=spikes,
    title="The gradient of the last step's spikes, back in time",
)

# %% [markdown]
# ### Exercise 4.6: read a plot
#
# Which is the earliest step whose input gets a gradient? For `"detached, neuron 0"` to
# `"detached, neuron 3"`, and for `"attached, neuron 1"`.
#
# <details><summary>Hint 1</summary>
#
# Read each row from right to left, from $t = 5$. White is exactly zero.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Use the product in section 2: the factor $1 - S[k]$ is zero for the step $k$ of the spike, and so for all
# $r \le k$. Attached, $(v_\text{reset} - H)\,\sigma'$ is added to it, and is not zero.
#
# </details>


# %%
def read_flow():
    """Return the five steps under the names above."""
    # BEGIN SOLUTION 4.6
    return {
        "detached, neuron 0": 0,
        "detached, neuron 1": 2,
        "detached, neuron 2": 4,
        "detached, neuron 3": 5,
        "attached, neuron 1": 0,
    }
    # END SOLUTION


# %%
checks.ex_04_6(read_flow)

# %% [markdown]
# Detached, a spike is a wall. Attached, what lies before it is blue: more input there would have raised $H$,
# with it the smooth spike, and so the reset, and left less for the last step.
#
# Now the leak. No spike stands in the way of neuron 0: detached, each step back costs it $1 - 1/\tau$ and
# no more. Move $\tau$ and the number of steps $T$. How long may a run be until its first step is forgotten?


# %%
def reach(tau=5.0, T=6):
    neuron = replace(NEURON, tau=tau)
    detached, spikes = flow(neuron, T)
    attached, _ = flow(replace(neuron, detach_reset=False), T)
    left = detached[0, 0] / detached[-1, 0]
    return plots.gradient_map(
        {"Reset detached": detached, "Reset attached": attached},
        spikes=spikes,
        title=f"tau = {tau:.1f}, T = {T}: at t = 0 neuron 0 has {left:.2g} of its gradient left",
    )


sliders(reach, tau=(1.1, 12.0), T=(4, 16))

# %% [markdown]
# At SpikeBERT's $\tau = 2$ and $T = 4$ an eighth is left. The larger $\tau$, the farther back a gradient
# reaches, and the less of it each input gets: $1/\tau$.
#
# ## What to take along
#
# - $dH$ has two terms: the carried one through the reset, $dV(1 - S)$, and the spike's, $dS\,\sigma'$.
# - $dX = dH/\tau$, $dV_\text{before} = dH(1 - 1/\tau)$. At $\tau = 2$ they look the same.
# - A detached reset is checked with its trace frozen; an attached one as it is.
# - Detached, a spike stops the gradient. Leak and reset are why a spiking network's memory, and its
#   gradient, are short.
