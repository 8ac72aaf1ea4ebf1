# %% [markdown]
# # 02 The LIF neuron: charge, fire, reset
#
# A spiking network is made of one small machine: the leaky integrate-and-fire neuron. It adds up
# what arrives, forgets a share of it at each step, and sends a 1 when it has enough. This chapter
# builds it forward. Chapter 04 goes back through it.
#
# **After this chapter you can** fill in by hand what a neuron does in four steps, write one step and
# the loop over T, say which input never makes a neuron fire, and read a membrane's plot.
#
# **Time** about 40 minutes, five exercises. **You need** NumPy. No earlier chapter.
#
# How the exercises work: you write a function in place of `raise NotImplementedError(...)`, and run
# the cell below it. It prints a table, a verdict and, where something is wrong, the likely mistake.
# If you skip an exercise, the chapter goes on with our own answer.

# %%
import inspect

import numpy as np

from spikebert_np.analysis import neuron_plots as plots
from spikebert_np.analysis.sliders import sliders
from spikebert_np.checking import exercises as checks
from spikebert_np.layers import lif
from spikebert_np.layers.lif import LIFNeuron

# %% [markdown]
# ## 1. From a leaky tank to three lines
#
# Think of a tank with a hole. Water flows in (the **input** $X$) and leaks out, the faster the
# fuller it is. The level is the **membrane** $V$. Empty means $V = v_\text{reset}$. In continuous
# time, with a time constant $\tau$ counted in steps,
#
# $$\tau\,\frac{dV}{dt} = X - (V - v_\text{reset}).$$
#
# One step of length 1, with the old $V$ on the right (Euler's method), turns $dV/dt$ into a difference,
# and gives the first of three lines, the **charge**:
#
# $$H[t] = V[t-1] + \frac{X[t] - (V[t-1] - v_\text{reset})}{\tau}.$$
#
# With $v_\text{reset} = 0$ it reads $H[t] = (1 - \tfrac1\tau)\,V[t-1] + \tfrac1\tau\,X[t]$: the neuron
# **keeps** the share $1 - 1/\tau$ of what it had, and **takes** the share $1/\tau$ of what arrives.
# A large $\tau$ is a slow neuron with a long memory.
#
# The second line is **fire**. A neuron at or above the threshold $v_\text{th}$ sends a spike:
#
# $$S[t] = \Theta(H[t] - v_\text{th}) = \begin{cases}1 & H[t] \ge v_\text{th}\\ 0 & \text{else.}\end{cases}$$
#
# The third is **reset**. After a spike the tank is emptied. This is the *hard* reset:
#
# $$V[t] = S[t]\,v_\text{reset} + (1 - S[t])\,H[t].$$
#
# Mind the two names. $H[t]$ is the membrane *before* the reset: it decides whether the neuron fires.
# $V[t]$ is the membrane *after* it: the next step starts from there. Where no spike was sent they are
# equal. All steps begin from rest, $V[-1] = v_\text{reset}$.

# %% [markdown]
# ## 2. Four steps by hand
#
# Take $\tau = 4$, $v_\text{th} = 1$, $v_\text{reset} = 0$ and the inputs $X = 2, 3, 2, 4$. The first
# step: $H[0] = \tfrac34 \cdot 0 + \tfrac14 \cdot 2 = 0.5$. This is below 1, so $S[0] = 0$ and
# $V[0] = H[0] = 0.5$.
#
# ### Exercise 2.1: predict, then run
#
# Fill in the other three columns with pencil and paper. The lists that you return have four numbers each,
# that of $t = 0$ among them.
#
# | $t$ | 0 | 1 | 2 | 3 |
# |---|---|---|---|---|
# | $X[t]$ | 2 | 3 | 2 | 4 |
# | $H[t]$ | 0.5 | | | |
# | $S[t]$ | 0 | | | |
# | $V[t]$ | 0.5 | | | |
#
# <details><summary>Hint 1</summary>
#
# Work column by column, from top to bottom. $H[1]$ needs $V[0]$ and $X[1]$, nothing else.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# $H[1] = \tfrac34 \cdot 0.5 + \tfrac14 \cdot 3$. Is it at least 1? Then $S[1] = 1$, and $V[1]$ is not
# $H[1]$.
#
# </details>


# %%
def four_steps():
    """Return the table: lists of four numbers under "H", "S" and "V"."""
    # BEGIN SOLUTION 2.1
    return {"H": [0.5, 1.125, 0.5, 1.375], "S": [0, 1, 0, 1], "V": [0.5, 0, 0.5, 0]}
    # END SOLUTION


# %%
checks.ex_02_1(four_steps)

# %% [markdown]
# The same four steps as a picture. A blue dot is $H$. Where the neuron fired, a dotted line falls to
# $V$, the red ring. The next step starts there.

# %%
x = np.array([2.0, 3.0, 2.0, 4.0])
_, cache = lif.lif_forward(x, neuron=LIFNeuron(tau=4.0))
plots.membrane(x, cache, title="Four steps of one neuron, tau = 4")

# %% [markdown]
# ## 3. One step in code
#
# ### Exercise 2.2: write one step
#
# Write the three lines for arrays. `x` and `v` have one shape, and every entry is a neuron of its
# own, so NumPy does all of them at once. `v` is $V[t-1]$. The constants are `neuron.tau`,
# `neuron.v_th` and `neuron.v_reset`, which is **not** zero here.
#
# $$H = V + \frac{X - (V - v_\text{reset})}{\tau},\qquad S = \Theta(H - v_\text{th}),\qquad
# V \leftarrow S\,v_\text{reset} + (1 - S)\,H$$
#
# <details><summary>Hint 1</summary>
#
# `h >= neuron.v_th` is an array of True and False. Multiplied by 1.0 it is one of 1 and 0.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Three assignments, in the order of the three equations, and each reads the one before. Do not write
# over `v` before the charge has read it, and write to no argument: `v = ...` makes a new array,
# `v[...] = ...` changes the caller's.
#
# </details>


# %%
def lif_step(x, v, neuron):
    """One step. x, v: arrays of one shape. Returns s, h and the new v, of that shape."""
    # BEGIN SOLUTION 2.2
    h = v + (x - (v - neuron.v_reset)) / neuron.tau
    s = (h >= neuron.v_th) * 1.0
    v = s * neuron.v_reset + (1 - s) * h
    return s, h, v
    # END SOLUTION


# %%
step = checks.ex_02_2(lif_step).use

# %% [markdown]
# `step` is now your function if it passed, and ours if it did not. Here is ours. It can do four things
# more, which you can pass over now: an input that is not divided by $\tau$ (`decay_input`), a smooth `s`
# (chapter 03), a reset by spikes that are given (`reset_spikes`, chapter 04), and other resets.

# %%
print(inspect.getsource(lif.lif_step_forward))

# %% [markdown]
# ## 4. The loop over time
#
# A network hands a neuron T inputs, `x` of shape `(T, N, D)`: T steps, N words, D neurons a word.
# The words and the neurons do not meet here. Time does: step $t$ starts from the $V$ that step $t-1$
# has left. That one variable, carried through the loop, is the whole memory of the neuron.
#
# ### Exercise 2.3: write the loop
#
# Call `step(x[t], v, neuron)` for each t, in order, and collect $S$ and $H$. Start from rest.
#
# <details><summary>Hint 1</summary>
#
# Two empty arrays for the results, `np.empty_like(x)`, and a `v` of the shape of `x[0]`.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Rest is `v_reset`, not 0: `np.full_like(x[0], neuron.v_reset)`. Within the loop one line is enough:
# a function that returns three things can be unpacked into `s[t], h[t], v`.
#
# </details>


# %%
def lif_loop(x, neuron):
    """T steps from rest. x: (T, N, D). Returns s and h, each (T, N, D)."""
    # BEGIN SOLUTION 2.3
    s, h = np.empty_like(x), np.empty_like(x)
    v = np.full_like(x[0], neuron.v_reset)
    for t in range(len(x)):
        s[t], h[t], v = step(x[t], v, neuron)
    return s, h
    # END SOLUTION


# %%
loop = checks.ex_02_3(lif_loop).use

# %% [markdown]
# Twenty neurons, thirty steps. Each neuron gets noise around a mean of its own, neuron 0 the least.
# The raster shows when each fires. A neuron that gets more fires more often; the lowest eight never do
# (section 5 says why). *When* and *how often* is all that a spiking layer passes on.

# %%
rng = np.random.default_rng(2)
x = np.linspace(0.2, 2.2, 20) + 0.4 * rng.standard_normal((30, 1, 20))
s, h = loop(x, LIFNeuron(tau=4.0))
plots.raster(s[:, 0], title="Twenty neurons with more and more input")

# %% [markdown]
# And ours. `frozen` and `backend` belong to chapters 04 and 10.

# %%
print(inspect.getsource(lif.lif_forward))

# %% [markdown]
# One neuron again, with the input 1.6 for seven steps, and then nothing. Move $\tau$ and $v_\text{th}$.
# The larger $\tau$, the slower the membrane climbs, and the slower it falls when the input has ended.
# From which $\tau$ on is the neuron mute? Section 5 says it without trying. (Where nothing can be moved
# you see $\tau = 4$ and $v_\text{th} = 1$.)


# %%
def one_neuron(tau=4.0, v_th=1.0):
    x = np.array([1.6] * 7 + [0.0] * 5)
    s, cache = lif.lif_forward(x, neuron=LIFNeuron(tau=tau, v_th=v_th))
    return plots.membrane(
        x, cache, title=f"tau = {tau:.1f}, v_th = {v_th:.1f}, spikes: {s.sum():.0f}"
    )


sliders(one_neuron, tau=(1.0, 12.0), v_th=(0.2, 2.0))

# %% [markdown]
# ## 5. Who never fires?
#
# A neuron that never fires tells nothing and, as chapter 05 shows, hardly learns. Take a constant
# input $x$ from rest and no spike yet. Measured from rest, $u[t] = H[t] - v_\text{reset}$ follows
#
# $$u[t] = (1 - \tfrac1\tau)\,u[t-1] + \tfrac1\tau\,x,\qquad u[-1] = 0.$$
#
# ### Exercise 2.4: derive, then implement
#
# Which is the least constant $x$ that fires within $T$ steps? Find $u[T-1]$ in closed form, set it
# equal to $v_\text{th} - v_\text{reset}$, and solve for $x$.
#
# <details><summary>Hint 1</summary>
#
# Look at what is still missing: $x - u[t] = (1 - \tfrac1\tau)\,(x - u[t-1])$. It shrinks by the same
# factor at each step.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# At the start $x - u[-1] = x$ is missing. After $T$ steps $x\,(1 - \tfrac1\tau)^T$ is missing, so that
# $u[T-1] = x\,\bigl(1 - (1 - \tfrac1\tau)^T\bigr)$.
#
# </details>


# %%
def firing_floor(neuron, steps):
    """The least constant input that fires within `steps` steps from rest, a number."""
    # BEGIN SOLUTION 2.4
    missing = (1 - 1 / neuron.tau) ** steps
    return (neuron.v_th - neuron.v_reset) / (1 - missing)
    # END SOLUTION


# %%
floor = checks.ex_02_4(firing_floor).use

# %% [markdown]
# How the floor grows with $\tau$, for the four steps that SpikeBERT runs and for more. At
# $\tau = 10$ and $T = 4$ an input must be 2.9 times the threshold: a slow neuron in a short run is
# all but mute. SpikeBERT uses $\tau = 2$, where the floor is 1.07.

# %%
taus = np.linspace(1.01, 12, 100)
floors = {f"T = {T}": [floor(LIFNeuron(tau=tau), T) for tau in taus] for T in (4, 8, 16)}
plots.curves(
    taus,
    floors,
    title="The least constant input that fires within T steps",
    xlabel="time constant tau (steps)",
    ylabel="input (thresholds)",
)

# %% [markdown]
# ## 6. Read a membrane
#
# ### Exercise 2.5: read a plot
#
# This neuron has other constants than yours. Read from the picture:
#
# - `"spikes"`: how many spikes it sends,
# - `"first spike"`: the step of the first one,
# - `"drop at a spike"`: by how much the membrane falls at the first spike, to 0.05,
# - `"reset"`: `"hard"` (down to the reset's line) or `"soft"` (down by the threshold),
# - `"share kept"`: which share of $V$ is left after a step without input, to 0.05.
#
# <details><summary>Hint 1</summary>
#
# The dotted red lines are the resets: how long are they, and where do they end?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Steps 3 and 4 have no input. There $H[t] = (1 - \tfrac1\tau)\,V[t-1]$: divide the height of the
# blue dot at $t = 4$ by that of the ring at $t = 3$.
#
# </details>

# %%
from spikebert_np.checking.chapter_02 import RIDDLE, RIDDLE_INPUT

_, cache = lif.lif_forward(RIDDLE_INPUT, neuron=RIDDLE)
plots.membrane(RIDDLE_INPUT, cache, title="A neuron to be read")


# %%
def read_plot():
    """Return the five answers under the names above."""
    # BEGIN SOLUTION 2.5
    return {
        "spikes": 4,
        "first spike": 1,
        "drop at a spike": 1.0,
        "reset": "soft",
        "share kept": 0.8,
    }
    # END SOLUTION


# %%
checks.ex_02_5(read_plot)

# %% [markdown]
# ## What to take along
#
# - Three lines: charge, fire, reset. $H$ fires, $V$ is handed on.
# - The membrane keeps $1 - 1/\tau$ and takes $1/\tau$. At $\tau = 2$ the two are equal, so a test at
#   $\tau = 2$ cannot tell them apart: never test there alone.
# - Time enters by one variable, $V$. In chapter 04 the gradient goes back along it.
# - `fire` is a step: flat everywhere but at one point. Its derivative is zero. Chapter 03 says what
#   is done about it.
