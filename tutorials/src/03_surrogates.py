# %% [markdown]
# # 03 Why it does not learn, and what a surrogate gradient is
#
# A network learns by its gradient. The gradient of a spiking network is zero: it is right, and of no
# use. This chapter shows the zero on one neuron, puts something else in its place, and says plainly
# what that something is and is not.
#
# **After this chapter you can** say why spikes get no gradient, make a surrogate as a pair of a curve
# and its slope, say where in the backward pass it stands, check it on a smooth twin, and show that a
# surrogate gradient is in general the gradient of no loss.
#
# **Time** about 55 minutes, six exercises. **You need** the three lines of chapter 02 (charge, fire,
# reset), derivatives and integrals of one variable, and the chain rule.
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
from spikebert_np.checking import chapter_03 as chapter
from spikebert_np.checking import exercises as checks
from spikebert_np.checking.bug_hunt import show_bugs
from spikebert_np.checking.chapter_03 import END, INPUT, NEURON, START, TARGET, TWIN, UNIT
from spikebert_np.checking.gradcheck import check_gradients
from spikebert_np.layers import surrogate
from spikebert_np.layers.lif import lif_backward, lif_forward
from spikebert_np.layers.surrogate import SURROGATES

# %% [markdown]
# ## 1. One neuron, one weight
#
# Take the neuron of chapter 02: $\tau = 4$, $v_\text{th} = 1$, four steps with the inputs 2, 3, 2, 4. Now
# put a weight before the input: it gets $w\,X[t]$. Let $n$ be the number of spikes that it sends in the
# four steps. We want two, so the loss is
#
# $$L(w) = \tfrac12\,(n - 2)^2 .$$
#
# Here is $n$ for all weights from 0 to 2.5.

# %%
print(inspect.getsource(chapter.count_spikes))

# %%
weights = np.linspace(0, 2.5, 2501)
plots.curves(
    weights,
    {"spikes n": chapter.count_spikes(weights)},
    title="The spikes that a neuron sends, by its weight",
    xlabel="weight w",
    ylabel="spikes in four steps",
)

# %% [markdown]
# ### Exercise 3.1: read a plot
#
# - `"loss at 0.4"`: $L(0.4)$,
# - `"slope at 0.4"`: $dL/dw$ at $w = 0.4$,
# - `"weight after 100 steps"`: where $w$ stands after 100 steps of $w \leftarrow w - 0.05\,dL/dw$, from
#   $w = 0.4$,
# - `"never sent"`: a number of spikes between 0 and 4 that no weight gives,
# - `"wide difference at 0.4"`: $\dfrac{L(w + h) - L(w - h)}{2h}$ at $w = 0.4$ with $h = 0.2$.
#
# <details><summary>Hint 1</summary>
#
# Read $n$ at three weights: 0.2, 0.4 and 0.6. Then $L$ at each.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Around $w = 0.4$ the line is flat: a small step to the left or right does not change $n$, and so not
# $L$. At $w = 0.6$ there is one spike, and $L = \tfrac12 (1 - 2)^2$.
#
# </details>


# %%
def read_staircase():
    """Return the five numbers under the names above."""
    # BEGIN SOLUTION 3.1
    return {
        "loss at 0.4": 2,
        "slope at 0.4": 0,
        "weight after 100 steps": 0.4,
        "never sent": 3,
        "wide difference at 0.4": -3.75,
    }
    # END SOLUTION


# %%
checks.ex_03_1(read_staircase)

# %% [markdown]
# The loss is a staircase too. Its derivative is zero on every stair, and does not exist at the edges. So a
# network of spikes has a gradient of zero **almost everywhere**, and gradient descent stands still. By the
# chain rule: $S = \Theta(u)$ with $u = H - v_\text{th}$, and $\Theta'(u) = 0$ for all $u \ne 0$. Every path
# from the loss down to a weight below a spike passes a $\Theta'$. Only what stands above the last spikes,
# such as a classifier that reads them, has a gradient of its own.
#
# The wide difference is not zero. It looks over the edge, and says the right thing: more weight, less
# loss. The idea of this chapter is to look over the edge, without running the network twice for each
# weight.

# %% [markdown]
# ## 2. A surrogate is a pair
#
# Keep the step $\Theta$ in the forward pass: the network still sends spikes. In the backward pass, write
# the slope $\sigma'(u)$ of a smooth curve where $\Theta'(u)$ should stand. This is a **surrogate gradient**
# (Neftci, Mostafa and Zenke 2019, [arXiv 1901.09948](https://arxiv.org/abs/1901.09948)).
#
# A surrogate is a pair:
#
# - the **primitive** $\sigma(u)$, a curve that rises from 0 to 1 like the step, but smoothly,
# - its **derivative** $\sigma'(u)$, a bump around $u = 0$.
#
# $\alpha$ says how sharp it is. Training needs the bump alone. The curve is kept to prove the bump right,
# as section 5 shows. Here is the curve that is called `fast_sigmoid`: it needs no exponential.

# %%
print(inspect.getsource(surrogate.fast_sigmoid_primitive))

# %% [markdown]
# ### Exercise 3.2: derive, then implement
#
# $$\sigma(u) = \frac12\Bigl(\frac{z}{1 + |z|} + 1\Bigr),\qquad z = \alpha u .$$
#
# Write $\sigma'(u)$ for an array `u` and a number `alpha`.
#
# <details><summary>Hint 1</summary>
#
# Take $u > 0$ first, where $|z| = z$. The quotient rule gives $d/dz$, the chain rule one more factor. Then
# do $u < 0$, where $|z| = -z$. The two results can be written as one.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# $\dfrac{d}{dz}\,\dfrac{z}{1 + |z|} = \dfrac{1}{(1 + |z|)^2}$. Multiply by $dz/du = \alpha$ and by the
# $\tfrac12$ in front.
#
# </details>


# %%
def fast_sigmoid_derivative(u, alpha):
    """The slope of the curve at u: an array of the shape of u."""
    # BEGIN SOLUTION 3.2
    z = np.abs(alpha * u)
    return (alpha / 2) / (1 + z) ** 2
    # END SOLUTION


# %%
bump = checks.ex_03_2(fast_sigmoid_derivative).use

# %% [markdown]
# That a pair belongs together can be checked by centred differences, and needs no network. The check takes
# a forward pass and its backward pass (chapter 00). Forward is the curve, backward the slope times the
# upstream gradient:

# %%
u = np.random.default_rng(3).normal(0, 1.5, 12)
print(
    check_gradients(
        lambda u: (SURROGATES["fast_sigmoid"].primitive(u, 3.0), u),
        lambda dy, u: dy * bump(u, 3.0),
        u,
        title="fast_sigmoid, alpha = 3",
    )
)

# %% [markdown]
# ## 3. From the slope to the curve
#
# One can also begin with the bump. Any positive bump with a finite area will do, once it is divided by
# its area:
#
# $$\sigma(u) = \int_{-\infty}^{u} \sigma'(x)\,dx,$$
#
# so $\sigma$ starts at 0, and ends at the area of $\sigma'$. It must end at 1, as the step does. **The area
# under every $\sigma'$ is 1.** (Some papers leave a constant out. It then multiplies the gradient once for
# each layer of spikes that the gradient passes.)
#
# ### Exercise 3.3: derive, then implement
#
# Take the bump $b(u) = e^{-\alpha |u|}$. Give its area $A = \int_{-\infty}^{\infty} b(x)\,dx$, and the curve
# $\sigma$ with $\sigma' = b / A$. It is not among the package's surrogates.
#
# <details><summary>Hint 1</summary>
#
# Both sides have the same area, $\int_0^\infty e^{-\alpha x}\,dx$. For the curve take the left side first,
# where $|u| = -u$. At $u = 0$ half of the area lies behind you.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# $A = 2/\alpha$. On the left $\sigma(u) = \tfrac12 e^{\alpha u}$. On the right as much is still ahead of you as
# lies behind you at $-u$: $\sigma(u) = 1 - \sigma(-u)$. `np.where(u < 0, a, b)` takes `a` where `u < 0`, else
# `b`.
#
# </details>


# %%
def exponential_pair(u, alpha):
    """The area of the bump, a number, and the curve at u, of the shape of u."""
    # BEGIN SOLUTION 3.3
    half = np.exp(-alpha * np.abs(u)) / 2
    return 2 / alpha, np.where(u < 0, half, 1 - half)
    # END SOLUTION


# %%
pair = checks.ex_03_3(exponential_pair).use

# %% [markdown]
# The new pair, from its area and its curve. The slope is zero nowhere, and the curve goes from 0 to 1.

# %%
u = np.linspace(-2, 2, 401)
area, curve = pair(u, 2.0)
plots.curves(
    u,
    {"slope b(u) / A": np.exp(-2.0 * np.abs(u)) / area, "curve σ(u)": curve},
    title="A sixth surrogate, alpha = 2",
    xlabel="u = H - v_th (units of membrane)",
    ylabel="spikes, and spikes per unit",
)

# %% [markdown]
# ## 4. Five surrogates
#
# These are the package's. On the left the slopes, each with the area under it; on the right the curves,
# with the step in black.

# %%
plots.surrogates(alpha=2.0)

# %% [markdown]
# ### Exercise 3.4: read a plot
#
# At $\alpha = 2$, as drawn, but for the second question:
#
# - `"peak of sigmoid"`: the height of its slope at $u = 0$,
# - `"peak of atan at alpha = 4"`: what would become of atan's peak at twice this $\alpha$?
# - `"zero at u = -0.8"`: how many of the five slopes are exactly zero there,
# - `"largest at u = -1"`: the name of the one whose slope is largest there,
# - `"lowest H, triangle"`: the membrane $H$ above which the slope of `triangle` is no longer zero, where
#   $v_\text{th} = 1$.
#
# <details><summary>Hint 1</summary>
#
# $\alpha$ enters every curve as $\alpha u$ alone. Twice the $\alpha$: the curve is squeezed to half its
# width. What happens to its slope, and to the area under the slope?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `rectangle` ends at $u = \pm 1/(2\alpha)$ and `triangle` at $u = \pm 1/\alpha$; the others never end. The
# axis is $u = H - v_\text{th}$, so $H = u + 1$. Half as wide with the same area is twice as tall.
#
# </details>


# %%
def read_bumps():
    """Return the four numbers and the name under the names above."""
    # BEGIN SOLUTION 3.4
    return {
        "peak of sigmoid": 0.5,
        "peak of atan at alpha = 4": 2,
        "zero at u = -0.8": 2,
        "largest at u = -1": "sigmoid",
        "lowest H, triangle": 0.5,
    }
    # END SOLUTION


# %%
checks.ex_03_4(read_bumps)

# %% [markdown]
# All five as formulas. SpikeBERT uses `atan` with $\alpha = 2$.

# %%
print(surrogate.__doc__)

# %% [markdown]
# A bump that ends gives no gradient to a neuron far from its threshold: that neuron is as stuck as
# before. A bump with long tails gives everyone a little. And $\alpha$ is a trade:
# too sharp, and hardly any neuron lies under the bump; too wide, and the slope is small everywhere.
# The gradient of our neuron at $w = 0.4$, for four values of $\alpha$ (chapter 04 writes `lif_backward`;
# here it is given):

# %%
for alpha in (0.5, 2.0, 8.0, 32.0):
    s, cache = lif_forward(0.4 * INPUT, neuron=replace(NEURON, alpha=alpha))
    ds = np.full_like(s, s.sum() - TARGET)  # dL/dS[t] = n - 2 at every step
    print(f"alpha = {alpha:4}: dL/dw = {np.sum(lif_backward(ds, cache) * INPUT):.2f}")

# %% [markdown]
# The same neuron on its slope: a dot for each step, at its $u = H - v_\text{th}$. Move $\alpha$ up, and
# the bump grows tall and leaves the dots behind. Move $w$: the nearer a step comes to the threshold, the
# more its dot counts.


# %%
def on_the_slope(alpha=2.0, w=0.4):
    s, cache = lif_forward(w * INPUT, neuron=replace(NEURON, alpha=alpha))
    dw = np.sum(lif_backward(np.full_like(s, s.sum() - TARGET), cache) * INPUT)
    return plots.under_the_slope(cache, title=f"alpha = {alpha:.1f}, w = {w:.2f}: dL/dw = {dw:.2f}")


sliders(on_the_slope, alpha=(0.5, 16.0), w=(0.0, 2.5, 0.05))

# %% [markdown]
# ## 5. In the backward pass, and the smooth twin
#
# The step forward, and the same step backward, for one neuron at one time:
#
# ```
# forward    s  = Θ(h - v_th)                 a spike, 0 or 1
# backward   dh = ds * σ'(h - v_th, alpha)     the bump at the same u
# ```
#
# `ds` is $\partial L/\partial S$, `dh` what $H$ gets of it through the spike. The bump is taken at
# $u = H - v_\text{th}$, where the neuron decided: not at $H$, not at $V$ after the reset. With this one
# line the neuron that stood still goes:

# %%
w = 0.4
for step in range(4):
    s, cache = lif_forward(w * INPUT, neuron=NEURON)
    error = s.sum() - TARGET
    dw = np.sum(lif_backward(np.full_like(s, error), cache) * INPUT)
    print(f"step {step}: w = {w:.3f}, spikes {s.sum():.0f}, loss {error**2 / 2}, dL/dw = {dw:.2f}")
    w = w - 0.05 * dw

# %% [markdown]
# How do we know that a backward pass with this line has no mistake? Differences of the spikes are zero.
# But there is a network whose differences are not: the same neuron that fires the curve $\sigma(u)$ in place
# of $\Theta(u)$. That is its **smooth twin**, `LIFNeuron(spiking=False)`. Its true derivative has $\sigma'(u)$
# in exactly the places where the surrogate gradient has it. So **the backward pass is the same code**, and
# differences of the twin check it.

# %%
twin = replace(NEURON, detach_reset=False, spiking=False)
x = np.random.default_rng(3).normal(3, 1.5, (4, 3, 2))
for name in SURROGATES:
    neuron = replace(twin, surrogate=name)
    report = check_gradients(lambda x, n=neuron: lif_forward(x, neuron=n), lif_backward, x)
    print(f"{name:12}  {report.rows[0].verdict}  error {report.worst:.0e}")

# %% [markdown]
# (`detach_reset=False`: the reset depends on $S$ too. Chapter 04 says what that means.) The twin is another
# network, not this one: it sends a part of a spike where the neuron sends one or none. With a larger
# $\alpha$ it comes nearer to the staircase.

# %%
lines = {"spikes n": chapter.count_spikes(weights)}
for alpha in (2.0, 8.0, 32.0):
    lines[f"twin, alpha = {alpha:g}"] = chapter.count_spikes(weights, replace(twin, alpha=alpha))
plots.curves(
    weights,
    lines,
    title="The neuron and its smooth twins",
    xlabel="weight w",
    ylabel="sum of S over four steps",
)

# %% [markdown]
# What are the two peaks of the sharp twin, at 0.78 and 0.87? The staircase shows how many spikes there are,
# and not when. Here they are step by step, the neuron's above the sharp twin's:

# %%
sharp = replace(twin, alpha=32.0)
for w in (0.7, 0.78, 0.85, 0.87, 0.95):
    for neuron in (NEURON, sharp):
        s, _ = lif_forward(w * INPUT, neuron=neuron)
        print(f"w = {w:.2f} ", *(f"{spike:5.2f}" for spike in s.ravel()))

# %% [markdown]
# From 0.7 to 0.78 the spike moves from the last step to the one before. There the twin's new spike is
# already large, but has not yet emptied the membrane enough to end the old one: both are sent, for a
# short stretch of weights. At 0.87, on the way to the next pattern, parts of both are sent again. So a
# sharp twin has steep slopes, and some that point the wrong way.
#
# ### Exercise 3.5: find the bug
#
# Three steps back through a neuron. `through_the_reset` and `through_the_charge` are right: they are
# chapter 04's. `dh` is what $H$ gets, and one line of each adds the spike's share to it. Right is
# `slope(h, neuron)` too: it is $\sigma'(h - v_\text{th})$ for whatever is given as `h`. The reports are
# those of smooth twins. Name the mistakes: `"A"`, `"B"` and `"C"`.
#
# <details><summary>Hint 1</summary>
#
# In each, one line has `ds *` something. What should stand behind it, and what does?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# In A, `v` is the membrane after the reset, and the bump is taken there. So A is "surrogate at V". Of the
# other two, which takes a bump at all?
#
# </details>

# %%
show_bugs(chapter.BUGS)


# %%
def find_bugs():
    """Return the mistake of each: {"A": "...", "B": "...", "C": "..."}."""
    # BEGIN SOLUTION 3.5
    return {
        "A": "surrogate at V",
        "B": "surrogate without the threshold",
        "C": "slope S (1 - S)",
    }
    # END SOLUTION


# %%
checks.ex_03_5(find_bugs)

# %% [markdown]
# With hard spikes the third is worse than wrong: $S(1 - S)$ is zero for $S = 0$ and for $S = 1$. The
# gradient would be gone again.

# %% [markdown]
# ## 6. The gradient of what?
#
# The forward pass has $\Theta$, the backward pass $\sigma'$. Is there a function whose gradient this is? Not
# $L$: its gradient is zero. Some other one, a smoothed loss?
#
# There is a test. The gradient of a function says how steeply it climbs. So if you walk from one point to
# another and add up the climb, $\int \nabla f \cdot dw$, you arrive at the same height by every way. If two
# ways give two heights, there is no such $f$.
#
# We walk from $(w_1, w_2) = (1.1, 0.1)$ to $(1.9, 0.9)$ in two ways: $w_1$ first, then $w_2$; and the other
# way round. There are two small networks, with $\tau = 1$ and one step, so that $H = X$, and
# $v_\text{th} = 1$. The "loss" is the output spike itself. No spike comes or goes on the way: in
# `one_neuron` $S = 1$ all the time, in `two_layers` $S_1 = 1$ and $S_2 = 0$.

# %%
print(inspect.getsource(chapter.one_neuron), inspect.getsource(chapter.two_layers), sep="\n")

# %% [markdown]
# ### Exercise 3.6: predict, then run
#
# Do both ways arrive at the same height? `"yes"` or `"no"` for
#
# - `"true gradient"`: that of `two_layers` with hard spikes, not a surrogate,
# - `"smooth twin"`: `two_layers` with `spiking=False`, so that $\sigma$ stands in both passes,
# - `"surrogate, one neuron"`: `one_neuron` with hard spikes, the surrogate in the backward pass,
# - `"surrogate, two layers"`: `two_layers` likewise,
#
# and `"climb of the true gradient"`: the height it arrives at, a number.
#
# <details><summary>Hint 1</summary>
#
# In which of the four does the backward pass belong to the forward pass? Those are gradients. For the
# other two write $\partial L/\partial w_1$ and $\partial L/\partial w_2$ as formulas.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# The mixed derivatives of a function are equal: $\partial/\partial w_2$ of its first slope is
# $\partial/\partial w_1$ of its second. One neuron: the slopes are $\sigma'(w_1 + w_2/2 - 1)$ and half of
# that. Two layers: with $S_1 = 1$ they are $\sigma'(w_2 - 1)\,w_2\,\sigma'(w_1 - 1)$ and
# $\sigma'(w_2 - 1)$. Which of these two depends on both weights?
#
# </details>


# %%
def predict():
    """Return the four words and the number under the names above."""
    # BEGIN SOLUTION 3.6
    return {
        "true gradient": "yes",
        "smooth twin": "yes",
        "surrogate, one neuron": "yes",
        "surrogate, two layers": "no",
        "climb of the true gradient": 0,
    }
    # END SOLUTION


# %%
checks.ex_03_6(predict)

# %% [markdown]
# Two layers, both ways. The twin's lines part and meet again at the end. The surrogate's do not meet.

# %%
walked = np.linspace(0, 1, 2000)
lines = {
    f"{name}, {way} first": chapter.climb(chapter.two_layers, neuron, first)
    for name, neuron in (("twin", TWIN), ("surrogate", UNIT))
    for first, way in enumerate(("w1", "w2"))
}
plots.curves(
    walked,
    lines,
    title="The height that a gradient promises, by two ways",
    xlabel="share of the way",
    ylabel="sum of slope times step (spikes)",
)

# %% [markdown]
# So in a network with two layers of spikes the surrogate gradient is **the gradient of no loss at all**. The
# one neuron is an exception: there it is the gradient of $\sigma(w_1 + w_2/2 - 1)$, which its twin sends,
# though not of what the neuron itself sends.

# %%
for first in (0, 1):
    print("climb of the surrogate gradient:", chapter.climb(chapter.one_neuron, UNIT, first)[-1])
for name, neuron in (("twin", TWIN), ("neuron", UNIT)):
    w1, w2 = np.stack([START, END], axis=1).reshape(2, 1, 1, 2)
    s = chapter.one_neuron(w1, w2, neuron)[0].ravel()
    print(f"rise of what the {name} sends:", s[1] - s[0])

# %% [markdown]
# What follows from this, and what does not:
#
# - A check on the smooth twin proves that the chain rule is coded right. It does not prove that the result
#   is a gradient of the spiking network.
# - A step along it need not lower the loss, however small. That it mostly does is found by training, and a
#   good reason to try more than one $\alpha$.
# - Two codes with the same surrogate must agree to rounding. A surrogate gradient is a recipe, and a recipe
#   can be followed exactly.
#
# ## What to take along
#
# - The true gradient of a spiking network is zero almost everywhere.
# - A surrogate is a pair: $\sigma$ from 0 to 1, and $\sigma'$ with area 1. Forward keeps the step, backward
#   takes $\sigma'$ at $H - v_\text{th}$.
# - The smooth twin fires $\sigma$. Its backward pass is the same code: so that code can be checked.
# - A surrogate gradient is in general the gradient of no loss.
