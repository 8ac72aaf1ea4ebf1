# %% [markdown]
# # 10 Numba: from the reference loop to the kernel
#
# A LIF neuron in NumPy is three clear lines, and slow. Numba compiles a loop in plain Python to machine
# code. This chapter turns the three lines into a loop, the loop into a kernel, and says what to watch:
# the order of the loops, what is fused, one number of the wrong dtype, and work that need not be done.
#
# **After this chapter you can** write a kernel that gives the reference's spikes to the last bit, fuse two
# layers into one pass, add up events in place of a dense product, and say when none of it pays.
#
# **Time** about 50 minutes, seven exercises. **You need** NumPy and the three lines of a LIF neuron
# (chapter 02), which are repeated here.
#
# How the exercises work: you write a function in place of `raise NotImplementedError(...)`, and run
# the cell below it. It prints a table, a verdict and, where something is wrong, the likely mistake.
# If you skip an exercise, the chapter goes on with our own answer.
#
# Times are measured on your machine while you read. They are printed and drawn, and nothing is judged by
# them.

# %%
import inspect
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

import numpy as np
from numba import njit

from spikebert_np.analysis import neuron_plots as plots
from spikebert_np.benchmarks.timing import alternate
from spikebert_np.blocks import spiking_linear_numba
from spikebert_np.checking import chapter_10
from spikebert_np.checking import exercises as checks
from spikebert_np.layers import kernel, lif, lif_numba, linear_numba
from spikebert_np.layers.layernorm import layernorm_forward
from spikebert_np.layers.lif import LIFNeuron
from spikebert_np.layers.linear import linear_backward, linear_forward

# %% [markdown]
# ## 1. What the reference costs
#
# This is one step of the reference, its charge above all:
#
# $$H[t] = V[t-1] + \frac{X[t] - (V[t-1] - v_\text{reset})}{\tau}, \qquad
# S[t] = \Theta(H[t] - v_\text{th}), \qquad V[t] = S[t]\,v_\text{reset} + (1 - S[t])\,H[t].$$
#
# NumPy does not see the line. It sees four operations, each of which reads one or two arrays and writes a
# new one: `v - v_reset` (1 read, 1 written), `x - ...` (2 and 1), `... / tau` (1 and 1), `v + ...` (2 and 1).
# That is ten **passes** over memory for four operations a neuron. An array that does not fit the cache
# comes from main memory at each pass, and the processor waits.
#
# Below, the arrays count their own passes.

# %%
neuron = LIFNeuron(tau=3.0, v_th=0.7, v_reset=-0.2)
x, v = np.random.default_rng(0).standard_normal((2, 1000))


def charge(x, v, neuron):
    return v + (x - (v - neuron.v_reset)) / neuron.tau


print("passes of the charge:", chapter_10.passes(charge, x, v, neuron))
print("passes of a whole step, at least:", chapter_10.passes(lif.lif_step_forward, x, v, neuron))

# %% [markdown]
# What is needed? Read $X$, write $H$ and $S$: **three**. $V$ of one neuron could stay in a register while all
# three lines run. To have that, the loop over neurons must be *around* the three lines, and not inside each
# operation. In Python such a loop is far slower (measured below). Compiled, it is what NumPy runs inside.
#
# ## 2. The kernel
#
# `njit` compiles a Python function at its first call, for the types of its arguments. It must be made of what
# Numba knows: numbers, tuples, NumPy arrays, loops, `if`, `math` and functions that are compiled themselves.
# No dataclass, no dict of arrays, no `**kwargs`. So a `LIFNeuron` is taken apart beforehand, and the kernel
# gets plain numbers. (`error_model="numpy"`, below, lets a division by 0 give infinity, as NumPy does. Else Numba
# would test each division.)
#
# ### Exercise 10.1: write the kernel
#
# Write the LIF forward pass with loops: no operation on whole arrays but to make `s`, `h` and the membrane.
# `x` is `(T, M)`, T steps of M neurons. For each step, for each neuron: charge, fire, reset.
#
# The answer must have the bits of the reference, and is checked twice: as plain Python, and compiled, in
# float32, against `lif_forward`. So keep the charge's order, `v + (x - (v - v_reset)) / tau`.
#
# <details><summary>Hint 1</summary>
#
# The membrane is an array of M numbers that lives outside both loops. Within them all is a single number:
# `x[t, j]`, `v[j]`.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Before the loops: `s, h = np.zeros_like(x), np.zeros_like(x)` and `v = np.full_like(x[0], v_reset)`. Within:
# `h_now = v[j] + (x[t, j] - (v[j] - v_reset)) / tau`, write it to `h[t, j]`, and then
# `if h_now >= v_th:` a spike and `v[j] = v_reset`, else `v[j] = h_now`.
#
# </details>


# %%
def lif_kernel(x, tau, v_th, v_reset):
    """x: (T, M); the others are numbers of its dtype. Returns s and h, (T, M) each."""
    # BEGIN SOLUTION 10.1
    s, h = np.zeros_like(x), np.zeros_like(x)
    v = np.full_like(x[0], v_reset)
    for t in range(x.shape[0]):
        for j in range(x.shape[1]):
            h_now = v[j] + (x[t, j] - (v[j] - v_reset)) / tau
            h[t, j] = h_now
            if h_now >= v_th:
                s[t, j] = 1
                v[j] = v_reset
            else:
                v[j] = h_now
    return s, h
    # END SOLUTION


# %%
write_kernel = checks.ex_10_1(lif_kernel).use

# %% [markdown]
# Which loop is inside? You have most likely put the neurons inside, as the text did. The other way round looks
# better at first: a neuron's membrane would be one number for all steps.

# %%
by_steps = njit(error_model="numpy")(write_kernel)


@njit(error_model="numpy")
def by_neurons(x, tau, v_th, v_reset):
    s = np.zeros_like(x)
    h = np.zeros_like(x)
    for j in range(x.shape[1]):
        v = v_reset
        for t in range(x.shape[0]):
            h_now = v + (x[t, j] - (v - v_reset)) / tau
            h[t, j] = h_now
            s[t, j] = h_now >= v_th
            v = v_reset if h_now >= v_th else h_now
    return s, h


def seconds(sides, rounds=12):
    """{name: CPU seconds of a call}, the least of some rounds in which the sides take turns."""
    work = {name: lambda _, call=call: call() for name, call in sides.items()}
    return {name: times[:, 1].min() for name, times in alternate(work, range(rounds)).items()}


constants = np.float32(3), np.float32(0.7), np.float32(-0.2)  # tau, v_th, v_reset
sizes = (100, 1_000, 10_000, 100_000)
lines = {}
for M in sizes:
    x = np.random.default_rng(0).normal(0.5, 1, (16, M)).astype(np.float32)
    times = seconds(
        {
            "NumPy": lambda x=x: lif.lif_forward(x, neuron=neuron),
            "kernel, neurons inside": lambda x=x: by_steps(x, *constants),
            "kernel, steps inside": lambda x=x: by_neurons(x, *constants),
        }
    )
    for name, time in times.items():
        lines.setdefault(name, []).append(1e9 * time / x.size)
part = x[:, :1000].copy()
times = seconds({"Python": lambda: write_kernel(part, *constants)}, 2)
print(f"plain Python, M = 1,000: {1e9 * times['Python'] / part.size:,.0f} ns a neuron and step")
for name, line in lines.items():
    print(f"{name:24}", *(f"{b / a:5.1f}" for a, b in zip(line, lines["NumPy"], strict=True)))
plots.curves(
    sizes,
    lines,
    title="LIF forward, 16 steps: which loop is inside?",
    xlabel="neurons M",
    ylabel="ns a neuron and step",
    log=True,
)

# %% [markdown]
# Above the figure: how many times as fast as NumPy, for each M. Numba is for loops: the same function, not compiled,
# takes hundreds of times as long or more. In memory `x[t, j]` and `x[t, j + 1]` are
# neighbours, and `x[t + 1, j]` lies M numbers further on. With the neurons inside, the processor loads a line of
# sixteen float32 at once and works on four to sixteen of them with one instruction (it *vectorises*). With the steps
# inside it uses one number of each line, each step waits for the one before, and nothing vectorises. Rule: **the
# inner loop runs over the last axis, and its turns do not depend on each other**.

# %% [markdown]
# ## 3. Chunked, then fused
#
# With the neurons inside, the membrane is read and written at every step: two more passes over M numbers. If M is
# large, they go to memory. Unless we cut the neurons into **chunks**: a chunk runs through *all* T steps, its membrane
# in the first-level cache, before the next one begins. Neurons do not touch each other, so the order is free.
#
# ### Exercise 10.2: chunked
#
# Write the kernel with three loops: over chunks of `chunk` neurons, over steps, over the neurons of the chunk. The
# membrane has room for one chunk alone. M need not be a multiple of the chunk. The same check as before.
#
# <details><summary>Hint 1</summary>
#
# `range(0, M, chunk)` counts the starts; a chunk ends at `min(start + chunk, M)`. What has to happen to the
# membrane before each chunk's first step?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `v = np.zeros_like(x[0, :chunk])` once; `v[:] = v_reset` for each chunk. Within a step, cut the rows:
# `x_row = x[t, start:stop]`, likewise `h_row` and `s_row`. Then the body of exercise 10.1 with `x_row[j]` and
# `v[j]`, for `j in range(stop - start)`.
#
# </details>


# %%
def lif_chunked(x, tau, v_th, v_reset, chunk):
    """x: (T, M); chunk: a whole number. Returns s and h, (T, M) each."""
    # BEGIN SOLUTION 10.2
    s, h = np.zeros_like(x), np.zeros_like(x)
    v = np.zeros_like(x[0, :chunk])
    for start in range(0, x.shape[1], chunk):
        stop = min(start + chunk, x.shape[1])
        v[:] = v_reset
        for t in range(x.shape[0]):
            x_row, h_row, s_row = x[t, start:stop], h[t, start:stop], s[t, start:stop]
            for j in range(stop - start):
                h_now = v[j] + (x_row[j] - (v[j] - v_reset)) / tau
                h_row[j] = h_now
                if h_now >= v_th:
                    s_row[j] = 1
                    v[j] = v_reset
                else:
                    v[j] = h_now
    return s, h
    # END SOLUTION


# %%
write_chunked = checks.ex_10_2(lif_chunked).use

# %% [markdown]
# Ours. Charge, fire and reset are functions of their own, compiled into the loop (`inline="always"`), so that the
# three lines can be read beside the reference's. Constants are unpacked from a tuple.

# %%
print(inspect.getsource(lif_numba.charge))
print(inspect.getsource(lif_numba._forward))

# %% [markdown]
# Why cut the rows out, and not write `x[t, start + j]`? Python counts a negative index from the end. Of a loop's own
# `j` Numba knows that it is never negative. Of the sum it does not, and tries it for every neuron. Here are both, and
# the form without chunks:

# %%
chunked = njit(error_model="numpy")(write_chunked)


@njit(error_model="numpy")
def with_sums(x, tau, v_th, v_reset, chunk):
    s = np.zeros_like(x)
    h = np.zeros_like(x)
    v = np.empty(chunk, x.dtype)
    for start in range(0, len(x[0]), chunk):
        v[:] = v_reset
        for t in range(x.shape[0]):
            for j in range(min(chunk, len(x[0]) - start)):
                h_now = v[j] + (x[t, start + j] - (v[j] - v_reset)) / tau
                h[t, start + j] = h_now
                s[t, start + j] = h_now >= v_th
                v[j] = v_reset if h_now >= v_th else h_now
    return s, h


times = seconds(
    {
        "without chunks": lambda: by_steps(x, *constants),
        "chunks, rows cut out": lambda: chunked(x, *constants, 1024),
        "chunks, x[t, start + j]": lambda: with_sums(x, *constants, 1024),
    }
)
for name, time in times.items():
    print(f"{name:24} {time / times['without chunks']:.2f}")

# %% [markdown]
# (If you wrote `x[t, start + j]` too, the last two are one.)
#
# Do the chunks themselves pay? Count again: five passes without, three with. But the count is not the clock. A chunk
# jumps from row to row, and hardware reads long runs in order best. Where a membrane of M numbers fits the cache
# anyway, or where the machine reads ahead well, chunks give nothing or cost something. Look at your own numbers
# above. A kernel is **measured**, and by turns with what it replaces.
#
# What chunks do give is the way to the next form. A chunk may be fed something that was never written to memory.
#
# In SpikeBERT a neuron's input is a layer norm:
# $\hat x = (z - \text{mean}) / \sqrt{\text{variance} + \varepsilon}$ over the D numbers of a token, then
# $x = \text{gain}\,\hat x + \text{bias}$. NumPy writes $x$ out and reads it again. A kernel need not: a token's D neurons
# are the chunk.
#
# ### Exercise 10.3: fused
#
# For each token `n`: membrane to rest; for each step `t`: mean and variance of the row `z[t, n]` by two loops over
# `d`, then one loop that makes $x$ of a neuron, charges, fires and resets. No array for $x$. The variance is divided
# by D, and $\varepsilon$ is `eps`.
#
# The sums run in another order than NumPy's here, so they agree to rounding; the check allows that.
#
# <details><summary>Hint 1</summary>
#
# Three loops over `d`, one after the other, inside those over `n` and `t`: sum; sum of squares about the mean; neuron.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `inv_std = 1 / np.sqrt(total / width + eps)`. In the last loop
# `x = (z[t, n, d] - mean) * inv_std * gain[d] + bias[d]`, and then the body of exercise 10.1 with `v[d]`.
#
# </details>


# %%
def norm_lif(z, gain, bias, eps, tau, v_th, v_reset):
    """z: (T, N, D), gain and bias: (D,), the others numbers. Returns s and h, (T, N, D) each."""
    # BEGIN SOLUTION 10.3
    s, h = np.zeros_like(z), np.zeros_like(z)
    width = z.shape[2]
    v = np.zeros_like(gain)
    for n in range(z.shape[1]):
        v[:] = v_reset
        for t in range(z.shape[0]):
            total = 0.0
            for d in range(width):
                total += z[t, n, d]
            mean = total / width
            total = 0.0
            for d in range(width):
                total += (z[t, n, d] - mean) ** 2
            inv_std = 1 / np.sqrt(total / width + eps)
            for d in range(width):
                x = (z[t, n, d] - mean) * inv_std * gain[d] + bias[d]
                h_now = v[d] + (x - (v[d] - v_reset)) / tau
                h[t, n, d] = h_now
                if h_now >= v_th:
                    s[t, n, d] = 1
                    v[d] = v_reset
                else:
                    v[d] = h_now
    return s, h
    # END SOLUTION


# %%
fuse = checks.ex_10_3(norm_lif).use

# %% [markdown]
# Ours also writes $\hat x$ over $z$ (the backward pass needs it), and sums a row in any order that is fast (section 5).

# %%
print(inspect.getsource(spiking_linear_numba._centre_row))
print(inspect.getsource(spiking_linear_numba._forward))

# %% [markdown]
# Three ways to the same spikes, T = 4, 500 tokens, D = 256. The times are multiples of the last one's.

# %%
z = np.random.default_rng(1).standard_normal((4, 500, 256)).astype(np.float32)
gain, bias = np.ones(256, np.float32), np.full(256, 0.5, np.float32)


def in_numpy(backend):
    y, _ = layernorm_forward(z, gain, bias)
    return lif.lif_forward(y, neuron=neuron, backend=backend)


times = seconds(
    {
        "layer norm and LIF in NumPy": lambda: in_numpy("numpy"),
        "layer norm in NumPy, LIF a kernel": lambda: in_numpy("numba"),
        "one fused kernel": lambda: spiking_linear_numba.norm_lif_forward(
            z.copy(), gain, bias, neuron
        ),
    }
)
for name, time in times.items():
    print(f"{name:34} {time / times['one fused kernel']:.1f}")

# %% [markdown]
# ## 4. One number of the wrong dtype
#
# Training is done in float32: half the memory, and twice the numbers an instruction. A kernel may undo that without
# a word. NumPy and Numba differ in what they make of a Python number beside a float32:
#
# - NumPy (since 2.0): a *Python* number takes the dtype of the array it meets.
# - Numba: a Python float is a float64, a whole number an int64. Two different types meet in one that holds both. A
#   float32 does not hold every int64.
#
# ### Exercise 10.4: predict, then run
#
# `x` is a float32 array, `tau = np.float32(3)` and `v_th = np.float32(0.7)` are arguments of the kernel. Which dtype
# has the value, `"float32"` or `"float64"`?
#
# - `"NumPy, x * 0.3"`, `"Numba, x[j] * 0.3"`, `"Numba, x[j] / 3"`, `"Numba, 1 - x[j]"`, `"Numba, x[j] * tau"`
#
# Now `x[j] = np.float32(0.7)`, which is 0.699999988. Does it reach the threshold, 1 or 0?
#
# - `"NumPy, x >= 0.7"`, `"Numba, x[j] >= 0.7"`, `"Numba, x[j] >= v_th"`
#
# <details><summary>Hint 1</summary>
#
# For each: which two types meet? The dtype of the *array* decides in NumPy alone.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# In a kernel `0.3`, `3` and `1` each bring 64 bits, so three of the four are float64. And where `x[j]` is widened
# to float64 it stays 0.699999988; the Python float 0.7 is 0.7 to sixteen digits.
#
# </details>


# %%
def predict_dtypes():
    """Return "float32" or "float64", and 1 or 0, under the eight names above."""
    # BEGIN SOLUTION 10.4
    return {
        "NumPy, x * 0.3": "float32",
        "Numba, x[j] * 0.3": "float64",
        "Numba, x[j] / 3": "float64",
        "Numba, 1 - x[j]": "float64",
        "Numba, x[j] * tau": "float32",
        "NumPy, x >= 0.7": 1,
        "Numba, x[j] >= 0.7": 0,
        "Numba, x[j] >= v_th": 1,
    }
    # END SOLUTION


# %%
checks.ex_10_4(predict_dtypes)

# %% [markdown]
# A neuron at the threshold fires in NumPy and is silent in the kernel: another spike, hence other inputs for all that
# follows. So the package hands each constant over in the dtype of the array, the number 1 among them:

# %%
print(inspect.getsource(lif_numba.neuron_constants))

# %% [markdown]
# Look back at section 3 with this in mind. A sum that begins with `0.0`, or with `row[0] * 0`, is a float64 in a
# kernel, whatever the row is, and so is all that is made of it: half as many numbers an instruction, and another
# last bit. The check of exercise 10.3 was in float64 and could not see it.


# %%
@njit
def beginnings(row):
    return np.full(1, row[0] * 0), np.full(1, row[0] - row[0])


times_zero, minus_itself = beginnings(np.ones(3, np.float32))
print("row[0] * 0:", times_zero.dtype, "  row[0] - row[0]:", minus_itself.dtype)

# %% [markdown]
# ## 5. The last bit
#
# Are the kernel's spikes the reference's, always? A neuron's three lines hold no sum over neurons, so there is one
# order to compute them in, and the twins can be equal to the last bit. Unless somebody rearranges them. You may:
# $H = (1 - \tfrac1\tau)\,V + \tfrac1\tau\,X$ is the same on paper (with $v_\text{reset} = 0$), and rounded elsewhere. Or the
# compiler, if fast-math lets it: `"contract"` allows it to round $a\,b + c$ once in place of twice.
#
# Inputs in tenths, so that many a membrane lies at the threshold but for its last bit:


# %%
def multiplied_out(x, keep, take, v_th):
    s = np.zeros_like(x)
    h = np.zeros_like(x)
    v = np.zeros_like(x[0])
    for t in range(x.shape[0]):
        for j in range(x.shape[1]):
            h[t, j] = keep * v[j] + take * x[t, j]
            s[t, j] = h[t, j] >= v_th
            v[j] = 0 if s[t, j] else h[t, j]
    return s, h


tenths = (np.random.default_rng(5).integers(-10, 30, (4, 50_000)) / 10).astype(np.float32)
s, cache = lif.lif_forward(tenths, neuron=LIFNeuron(tau=4.0, v_th=0.8))
tau, v_th, rest, keep = (np.float32(number) for number in (4, 0.8, 0, 0.75))
kernels = {
    "the reference's line": njit(write_kernel)(tenths, tau, v_th, rest),
    "multiplied out": njit(multiplied_out)(tenths, keep, 1 / tau, v_th),
    "multiplied out, contract": njit(fastmath={"contract"})(multiplied_out)(
        tenths, keep, 1 / tau, v_th
    ),
}
for name, (spikes, h) in kernels.items():
    print(f"{name:26} other H: {(h != cache.h).mean():4.0%}, other spikes: {(spikes != s).sum()}")

# %% [markdown]
# Few spikes, but each changes the inputs of all that follows. And which of them change depends on the processor and the
# compiler.
#
# A sum over a row is another matter. Left to right, each addition waits for the one before; in several parts, side by
# side, it is faster. `"reassoc"` allows that, and that alone. Then the last digits depend on the order, as they do
# between NumPy's `sum` and a loop. On numbers of very different size the difference is large:

# %%
a = np.array([1e8, 1, -1e8, 1], np.float32)
print("left to right:", ((a[0] + a[1]) + a[2]) + a[3])
print("by pairs that lie two apart:", (a[0] + a[2]) + (a[1] + a[3]))


def total(row):
    out = row[0]  # a sum that began with 0.0 would be a float64
    for d in range(1, len(row)):
        out += row[d]
    return out


def is_nan(x):
    return x != x


row = np.random.default_rng(2).standard_normal(4096).astype(np.float32)
in_order, parts = njit(total), njit(fastmath={"reassoc", "contract"})(total)
times = seconds({"in order": lambda: in_order(row), "parts": lambda: parts(row)}, 200)
print(f"a row of 4,096: {in_order(row)} in order, {parts(row)} in parts;", end=" ")
print(f"in order it takes {times['in order'] / times['parts']:.1f} times as long")
for flags in ({"reassoc", "contract"}, True):
    name = flags if flags is True else "reassoc, contract"
    print(f"is NaN other than itself? fastmath {name}:", njit(fastmath=flags)(is_nan)(np.nan))

# %% [markdown]
# The last line is why no kernel here has `fastmath=True`: it also promises that there is no NaN and no infinity, and a
# check for them is compiled away. Hence the package's rule. A twin without sums: no fast-math, and spikes compared
# bit for bit. With sums: `{"reassoc", "contract"}`, compared to rounding, and spikes where $|H - v_\text{th}|$ is
# larger than it.

# %% [markdown]
# ## 6. Events in place of a dense product
#
# The fastest operation is the one that is left out. Spikes are mostly zeros, and a dense product multiplies by each of
# them. Row m of $x W$ is the sum of the rows of $W$ at which $x_m$ is not zero, each times its count. So write down
# where the non-zeros, the **events**, are, row after row. For
#
# $$x = \begin{pmatrix} 0 & 1 & 0 & 2\\ 0 & 0 & 0 & 0\\ 1 & 0 & 0 & 0 \end{pmatrix}:\qquad
# \texttt{column} = [1, 3, 0],\quad \texttt{value} = [1, 2, 1],\quad \texttt{starts} = [0, 2, 2, 3].$$
#
# Row m has the events from `starts[m]` up to, but without, `starts[m + 1]`. The second row has none.
#
# ### Exercise 10.5: write the event-driven product, and its dW
#
# By loops, without ever making $x$:
#
# $$y_{mj} = b_j + \sum_{k \,\in\, \text{row } m} \text{value}_k\, W_{\text{column}_k,\,j}, \qquad
# dW = x^\top dy .$$
#
# Which row of $dW$ does an event of row m add to, and what?
#
# <details><summary>Hint 1</summary>
#
# $dW_{ij} = \sum_m x_{mi}\, dy_{mj}$. Where $x_{mi}$ is zero, nothing is added. Where it is not, it is an event with
# `column[k] == i`.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# For each m: `y[m, j] = bias[j]`. Then for each event k of the row, with `i = column[k]`, and each j:
# `y[m, j] += value[k] * weight[i, j]` and `dweight[i, j] += value[k] * dy[m, j]`.
#
# </details>


# %%
def by_events(starts, column, value, weight, bias, dy):
    """starts (M + 1,), column, value (K,), weight (D_in, D_out), bias (D_out,), dy (M, D_out).
    Returns y (M, D_out) and dweight (D_in, D_out)."""
    # BEGIN SOLUTION 10.5
    y, dweight = np.zeros_like(dy), np.zeros_like(weight)
    for m in range(len(dy)):
        for j in range(dy.shape[1]):
            y[m, j] = bias[j]
        for k in range(starts[m], starts[m + 1]):
            i = column[k]
            for j in range(dy.shape[1]):
                y[m, j] += value[k] * weight[i, j]
                dweight[i, j] += value[k] * dy[m, j]
    return y, dweight
    # END SOLUTION


# %%
checks.ex_10_5(by_events)

# %% [markdown]
# Ours adds four rows at a time, so that the sum is read and written once for four. And dW has no kernel of its own:
# sort the events by column, and it is the same sum over the rows of $dy$.

# %%
print(inspect.getsource(linear_numba._sum_rows))
print(inspect.getsource(linear_numba.weight_gradient))

# %% [markdown]
# ### Exercise 10.6: predict, then run
#
# A linear layer reads M = 3,200 rows of 256 inputs, of which 5 % fire, and has 1,024 outputs. Count multiply-adds, each
# as one, in millions:
#
# - `"y, dense"`: of $y = x W$; `"y, by events"`; `"dX"`: of $dX = dY\,W^\top$;
# - `"step, dense / by events"`: of $y$, $dW$ and $dX$ together, dense over event-driven, as far as events go;
# - `"the same, almost silent"`: that quotient, if next to nothing fired;
# - `"share that pays"`: for $y$ alone, if a multiply-add by an event takes 4.5 times as long as one in a dense product:
#   up to which share of events (0 to 1) do they pay?
#
# <details><summary>Hint 1</summary>
#
# Each of the three dense products is M times 256 times 1,024. Which of them has $x$ as a factor?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# $dX$ has not: a gradient and a weight, both dense. So $3 / (1 + 2 \cdot 0.05)$, and with nothing firing $3 / 1$. The
# last: events cost $4.5\,p$ of the dense product; when is that 1?
#
# </details>


# %%
def predict_operations():
    """Return six numbers under the names above."""
    # BEGIN SOLUTION 10.6
    dense = 3200 * 256 * 1024 / 1e6
    return {
        "y, dense": dense,
        "y, by events": 0.05 * dense,
        "dX": dense,
        "step, dense / by events": 3 / (1 + 2 * 0.05),
        "the same, almost silent": 3,
        "share that pays": 1 / 4.5,
    }
    # END SOLUTION


# %%
checks.ex_10_6(predict_operations)

# %% [markdown]
# Measured, beside the count. The distance between the two is what an event costs more: its row of $W$ is looked up,
# and the dense product is the work of many years. Where the measured line falls below 1, the dense product is the
# faster one. (Where it stands above the count, the machine was busy: the product's threads wait for each other, and
# waiting is counted as theirs.) The package changes over at 22 % (`process.EVENTS_UP_TO`; `spikebert bench --calibrate`
# measures where the two cross on your machine).

# %%
rng = np.random.default_rng(3)
weight, bias = rng.standard_normal((256, 1024)).astype(np.float32), np.zeros(1024, np.float32)
dy = rng.standard_normal((800, 1024)).astype(np.float32)


def linear_step(spikes, backend):
    _, cache = linear_forward(spikes, weight, bias, backend=backend)
    linear_backward(dy, cache)


shares = np.array([0.02, 0.05, 0.1, 0.2, 0.3, 0.5])
measured = []
for share in shares:
    spikes = (rng.random((800, 256)) < share).astype(np.float32)
    times = seconds(
        {
            "dense": lambda spikes=spikes: linear_step(spikes, "dense"),
            "events": lambda spikes=spikes: linear_step(spikes, "events"),
        },
        rounds=8,
    )
    measured.append(times["dense"] / times["events"])
plots.curves(
    shares,
    {
        "operations, 3 / (1 + 2 p)": 3 / (1 + 2 * shares),
        "measured": measured,
        "equal": np.ones(len(shares)),
    },
    title="Linear 256 to 1,024, forward and backward: dense over events",
    xlabel="share p of the inputs that fire",
    ylabel="times as long",
)

# %% [markdown]
# ## 7. Find the bug
#
# ### Exercise 10.7: find the bug
#
# Four kernels, each with one mistake. Below each, from a run on 4 steps of 20,000 neurons at $v_\text{th} = 0.7$:
# how many spikes differ from the reference's, in float32 and in float64, and its time beside that of a kernel
# without a mistake. A third of the neurons meet the threshold to the last bit.
#
# <details><summary>Hint 1</summary>
#
# Look at the numbers first. Right but slow; wrong in one dtype; wrong in both; right at first, wrong later.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# C sets `v` before the loop over the chunks, and never again: a chunk begins with what the one before has left, from
# neuron 1,000 on. It is "membrane not put to rest".
#
# </details>

# %%
chapter_10.show_kernels()


# %%
def find_bugs():
    """Return the mistake of each: {"A": "...", "B": "...", "C": "...", "D": "..."}."""
    # BEGIN SOLUTION 10.7
    return {
        "A": "steps in the inner loop",
        "B": "Python float",
        "C": "membrane not put to rest",
        "D": "a tie does not fire",
    }
    # END SOLUTION


# %%
checks.ex_10_7(find_bugs)

# %% [markdown]
# ## 8. Threads
#
# Numba can share a loop out among threads of its own (`parallel=True`, `prange`). This package does not let it, for two
# reasons.
#
# - The matrix products have threads already, OpenBLAS's. After a product these spin for a while, in case of another one,
#   and take the cores from Numba's.
# - Numba's threads are one pool with one owner. Of its three ways to run it (`tbb`, `omp`, `workqueue`) the one that
#   is always there, `workqueue`, *aborts the process* when two Python threads enter parallel kernels at once.
#
# So a kernel here runs on the thread that calls it and starts no other. It lets go of Python's lock (`nogil=True`), and
# then any number of Python threads may be in kernels at the same time, each on its own part. In a training step each
# thread takes whole sentences through the whole network. Nothing is shared, and no lock is needed.

# %%
print(inspect.getsource(kernel.kernel))

# %% [markdown]
# Two halves of the neurons, one after the other and on two threads. With `nogil` and two idle cores the quotient
# comes near 2; on one core, or a busy machine, near 1 or below. Without `nogil` the second thread waits for the
# first in any case.

# %%
halves = np.random.default_rng(4).normal(0.5, 1, (2, 16, 60_000)).astype(np.float32)


def on_both(run, each):
    """The kernel on both halves; each: map, one after the other, or a pool's map, at once."""
    return list(each(lambda half: run(half, *constants), halves))


with ThreadPoolExecutor(2) as pool:
    for nogil in (True, False):
        run = njit(error_model="numpy", nogil=nogil)(write_kernel)
        sides = {
            "one": lambda _, run=run: on_both(run, map),
            "two": lambda _, run=run: on_both(run, pool.map),
        }
        clock = {name: times[:, 0].min() for name, times in alternate(sides, range(20)).items()}
        print(f"nogil={nogil}: one thread takes {clock['one'] / clock['two']:.2f} times as long")

# %% [markdown]
# ## 9. When it does not pay
#
# A kernel must be compiled, which takes from a tenth of a second to some seconds, once a process and type of its
# arguments. `cache=True` keeps it on disk for the next process. (Numba looks at the file of the kernel to see
# whether it has changed, and not at what the kernel inlines from others: that is why `kernel()` above has a cache
# folder for each state of all the files.) Below: the time of n calls, on 100 neurons and on 10,000, compilation
# included.

# %%
started = perf_counter()
fresh = njit(error_model="numpy")(write_kernel)
fresh(x[:, :100].copy(), *constants)
compilation = perf_counter() - started
calls = np.logspace(0, 6, 50)
lines = {}
for M in (100, 10_000):
    part = x[:, :M].copy()
    times = seconds(
        {
            "NumPy": lambda part=part: lif.lif_forward(part, neuron=neuron),
            "kernel": lambda part=part: fresh(part, *constants),
        },
        30,
    )
    lines[f"NumPy, M = {M:,}"] = calls * times["NumPy"]
    lines[f"kernel, M = {M:,}"] = compilation + calls * times["kernel"]
    even = compilation / (times["NumPy"] - times["kernel"])
    print(f"M = {M:,}: the compilation of {compilation:.2f} s has paid after {even:,.0f} calls")
plots.curves(
    calls,
    lines,
    title="Compile, or not? 16 steps",
    xlabel="calls",
    ylabel="seconds in all",
    log=True,
)

# %% [markdown]
# It does not pay
#
# - where a function is called a few times: a script that draws one figure, a test;
# - where the work is one matrix product: OpenBLAS's is better than any loop of yours;
# - where memory is the limit already and there is nothing to fuse: one `a + b` is one `a + b`;
# - where it costs the reader more than it saves. Here the NumPy reference comes first, and stays. A kernel is its twin
#   beside it, and both pass the same tests.
#
# ## What to take along
#
# - Count passes over memory, not operations. A kernel does in one pass what NumPy does in ten.
# - Inner loop: the last axis, turns that do not depend on each other, an index that is the loop's own.
# - Chunk, then fuse: what is never written need not be read.
# - In a kernel every number brings its type. Pass constants in the array's dtype.
# - No sums: the reference's bits. Sums: reassociate and contract them, and nothing more.
# - Events leave work out, for two products of three. The third bounds what can be won.
# - Then measure, by turns, against what is to be replaced.
