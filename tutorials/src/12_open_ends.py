# %% [markdown]
# # 12 Open ends: learn the neuron, reset it otherwise, read another corpus
#
# SpikeBERT's neuron has fixed constants, a hard reset, and reads film reviews. None of that is a law. This
# chapter changes each in turn: the time constant and the threshold become parameters with gradients of their own,
# the reset becomes a soft one, and the corpus becomes yours. It ends with a list of projects.
#
# **After this chapter you can** derive the gradient of any constant of a neuron and check it, say what a soft reset
# keeps, take a corpus of your own from files to a trained student, and begin a project.
#
# **Time** about 60 minutes, five exercises. **You need** backpropagation through a LIF neuron (chapter 04); its lines
# are repeated here.
#
# How the exercises work: you write a function in place of `raise NotImplementedError(...)`, and run
# the cell below it. It prints a table, a verdict and, where something is wrong, the likely mistake.
# If you skip an exercise, the chapter goes on with our own answer.

# %%
import inspect
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from spikebert_np.analysis import neuron_plots as plots
from spikebert_np.checking import chapter_12
from spikebert_np.checking import exercises as checks
from spikebert_np.data import split
from spikebert_np.layers import lif
from spikebert_np.layers.lif import LIFNeuron, lif_forward, membrane_after_reset
from spikebert_np.layers.surrogate import SURROGATES

# %% [markdown]
# ## 1. A time constant that learns
#
# $\tau$ says how long a neuron remembers. Nobody knows the best one beforehand, and it is one more number that a
# loss depends on. So give it a gradient. (Fang et al. 2021, [arXiv 2007.05785](https://arxiv.org/abs/2007.05785), call
# the result PLIF, a parametric LIF neuron.)
#
# Where does $\tau$ stand? In the charge, once at each step:
#
# $$H[t] = V[t-1] + \frac{X[t] - (V[t-1] - v_\text{reset})}{\tau}.$$
#
# One number is read at T steps by all neurons of the layer. So its gradient is a **sum**: over steps and neurons, of
# what arrives at $H$ times what $H$ owes to $\tau$ directly,
#
# $$\frac{dL}{d\tau} = \sum_t \sum_\text{neurons} dH[t]\;\frac{\partial H[t]}{\partial \tau} .$$
#
# $dH[t]$ is the gradient of chapter 04. It came through the spike, with the surrogate's slope, and through $V$ from all
# later steps. That *later* steps depend on $\tau$ too, by way of $V$, is in there already: each later $dH$ has its own
# term in the sum, and what goes back along $V$ is the rest.
#
# `lif.lif_backward(ds, cache)` gives $dX$. From $dX[t] = dH[t] / \tau$ you have $dH$ without a second walk through
# time.
#
# ### Exercise 12.1: derive, then implement
#
# Find $\partial H[t] / \partial\tau$, and write the gradient. `cache.h` holds $H$, `membrane_after_reset(cache)` holds
# $V$, `cache.neuron` the constants. $X$ is not kept, and is not needed: the charge says what
# $(X[t] - (V[t-1] - v_\text{reset})) / \tau$ is.
#
# It is checked by differences on smooth twins, with hard and with soft resets, attached and detached.
#
# <details><summary>Hint 1</summary>
#
# The derivative of $a / \tau$ is $-a / \tau^2$. And $a / \tau$ is $H[t] - V[t-1]$.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# $d\tau = -\sum dH\,(H[t] - V[t-1]) / \tau$. For $V[t-1]$ shift $V$ by one step:
# `np.concatenate([rest, v[:-1]])`, where `rest` has one row of `v_reset`, the membrane before the first step.
#
# </details>


# %%
def tau_backward(ds, cache):
    """ds: (T, ...), as of `lif_backward`. Returns dx (T, ...) and dtau, a number."""
    # BEGIN SOLUTION 12.1
    dx = lif.lif_backward(ds, cache)
    dh = dx * cache.neuron.tau
    v = membrane_after_reset(cache)
    rest = np.full_like(v[:1], cache.neuron.v_reset)
    before = np.concatenate([rest, v[:-1]])
    return dx, -(dh * (cache.h - before)).sum() / cache.neuron.tau
    # END SOLUTION


# %%
back_to_tau = checks.ex_12_1(tau_backward).use

# %% [markdown]
# Ours:

# %%
print(inspect.getsource(chapter_12.membrane_before))
print(inspect.getsource(checks.ex_12_1.reference))

# %% [markdown]
# An update might push $\tau$ below 1, where the membrane swings to and fro. So one learns another number, $w$, from
# which $\tau$ is made: $\tau = 1 + e^{-w}$, that is $1/\tau = \text{sigmoid}(w)$. By the chain rule
# $dw = d\tau \cdot (-e^{-w}) = -d\tau\,(\tau - 1)$.
#
# Does it work? A hidden neuron layer with $\tau = 4$ answers random inputs with spikes. Ours gets the same inputs,
# begins with another $\tau$, and follows the gradient of the mean squared difference of the spikes. All it learns is
# one number.

# %%
x = np.random.default_rng(0).normal(1.2, 1, (20, 1, 64))


def learn(start, hidden, name, backward, updates, rate, per_update):
    """Gradient descent on one constant of a neuron: its values and losses, one each an update.

    per_update: of the gradient and the value, the gradient of the number that is moved, and its
    value from there.
    """
    target, _ = lif_forward(x, neuron=hidden)
    value, values, losses = start, [], []
    for _ in range(updates):
        s, cache = lif_forward(x, neuron=replace(hidden, **{name: value}))
        values.append(value)
        losses.append(np.mean((s - target) ** 2))
        _, gradient = backward(2 * (s - target) / s.size, cache)
        value = per_update(value, rate * gradient)
    return values, losses


def move_tau(tau, step):
    """One step on w, tau = 1 + exp(-w)."""
    w = -np.log(tau - 1)
    return float(1 + np.exp(-(w + step * (tau - 1))))


hidden = LIFNeuron(tau=4.0, v_th=0.8)
lines = {"hidden": np.full(150, 4.0)}
for start in (1.3, 2.0, 8.0, 12.0):
    taus, losses = learn(start, hidden, "tau", back_to_tau, 150, 0.5, move_tau)
    lines[f"from {start}"] = taus
    print(
        f"from {start:4}: loss {losses[0]:.3f}, at its highest {max(losses):.3f}, at last", end=" "
    )
    print(f"{losses[-1]:.3f}, tau {taus[-1]:.2f}")
plots.curves(
    range(150),
    lines,
    title="A time constant finds the hidden one",
    xlabel="update",
    ylabel="tau (steps)",
)

# %% [markdown]
# All four find it, or come within 0.02 of it. Look at the losses of those that come from above: they *rise* before
# they fall, while $\tau$ goes the right way all the time. The gradient is a surrogate's. It is not the slope of this
# loss (which is flat between jumps), and it need not go downhill on it.
#
# Left for you: without `decay_input` the charge is $V - (V - v_\text{reset})/\tau + X$. What is
# $\partial H/\partial\tau$ then? And what would one $\tau$ for each of the D neurons change? (The sum: over which axes?)
#
# ## 2. A soft reset
#
# A hard reset throws away what lies above the threshold. A **soft** reset takes the threshold away and keeps the rest:
#
# $$\text{hard:}\; V = S\,v_\text{reset} + (1 - S)\,H \qquad\qquad \text{soft:}\; V = H - S\,v_\text{th}.$$
#
# ### Exercise 12.2: predict, then run
#
# A neuron that forgets nothing: $H[t] = V[t-1] + X[t]$, threshold 1, at rest at 0. The input is the same at each of
# 16 steps. How many spikes does it send?
#
# - `"hard, 0.375"` and `"soft, 0.375"`: reset, and input at each step; `"hard, 0.75"` and `"soft, 0.75"`; `"soft, 1.5"`.
# - `"soft, 1.5, left over"`: what the membrane holds after the last step.
#
# <details><summary>Hint 1</summary>
#
# Hard: after how many steps does it fire, counted from empty? Then it is empty again.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Soft: what has arrived in all, $16\,x$, is either sent, 1 a spike, or still there. But there is at most one spike a
# step.
#
# </details>


# %%
def predict_resets():
    """Return six numbers under the names above."""
    # BEGIN SOLUTION 12.2
    return {
        "hard, 0.375": 5,
        "soft, 0.375": 6,
        "hard, 0.75": 8,
        "soft, 0.75": 12,
        "soft, 1.5": 16,
        "soft, 1.5, left over": 8,
    }
    # END SOLUTION


# %%
checks.ex_12_2(predict_resets)

# %% [markdown]
# The share of steps with a spike, over the input. Soft, it *is* the input, up to one spike a step: the neuron counts
# what arrives. Hard, it is a staircase: between 0.5 and 1 all inputs look alike.

# %%
inputs = np.linspace(0.02, 1.3, 129)
steps = 64
rates = {
    f"{reset} reset": lif_forward(
        np.tile(inputs, (steps, 1)), neuron=LIFNeuron(tau=np.inf, decay_input=False, reset=reset)
    )[0].mean(axis=0)
    for reset in ("hard", "soft")
}
plots.curves(
    inputs,
    rates,
    title="How often a neuron without leak fires, 64 steps",
    xlabel="input at each step (thresholds)",
    ylabel="spikes a step",
)

# %% [markdown]
# ### Exercise 12.3: write its backward pass
#
# One step back through the soft reset, with `decay_input`. If `neuron.detach_reset`, the $S$ in the reset is a
# constant; else a gradient flows through it. For the hard reset you had
#
# $$dH = dV\,(1 - S) + \bigl(dS + [\text{attached}]\;dV\,(v_\text{reset} - H)\bigr)\,\sigma', \qquad
# dX = \frac{dH}{\tau},\qquad dV_\text{before} = dH\,\bigl(1 - \tfrac1\tau\bigr).$$
#
# with $[\text{attached}]$ 1 or 0. Which two terms change? The slope $\sigma'$ is given: `slope(h, neuron)`.
#
# <details><summary>Hint 1</summary>
#
# $\partial V/\partial H$ directly, and $\partial V/\partial S$, of $V = H - S\,v_\text{th}$.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# They are 1 and $-v_\text{th}$. Put them where $1 - S$ and $v_\text{reset} - H$ stood.
#
# </details>


# %%
def slope(h, neuron):
    """The surrogate's slope at H - v_th, of the shape of h."""
    return SURROGATES[neuron.surrogate].derivative(h - neuron.v_th, neuron.alpha)


# %%
def soft_step(ds, dv, h, s, neuron):
    """One step back, soft reset, as `neuron.detach_reset` says. Returns dx and dv_before."""
    # BEGIN SOLUTION 12.3
    if not neuron.detach_reset:
        ds = ds - dv * neuron.v_th
    dh = dv + ds * slope(h, neuron)
    return dh / neuron.tau, dh * (1 - 1 / neuron.tau)
    # END SOLUTION


# %%
checks.ex_12_3(soft_step)

# %% [markdown]
# Ours, with all resets:

# %%
print(inspect.getsource(lif.lif_step_backward))

# %% [markdown]
# Compare with chapter 04's wall. Detached and hard, a spike stops the gradient: the factor $1 - S$ is zero. Soft, the
# factor is 1, spike or not. What lay before a spike is still in the membrane after it, and the gradient knows.
#
# Libraries differ in what they call soft. SpikingJelly, and this package, take $v_\text{th}$ off before the next
# leak, snnTorch after it. These are different neurons: see `conventions.md`.
#
# ## 3. A threshold that learns
#
# Where does $v_\text{th}$ stand? In the spike, $S = \sigma(H - v_\text{th})$ on the smooth twin. And in the soft reset,
# $V = H - S\,v_\text{th}$, once more.
#
# In the spike it stands beside $H$ with the other sign. So all that reaches $H$ *through the spike* reaches
# $v_\text{th}$ with a minus.
#
# ### Exercise 12.4: derive, then implement
#
# Write $dv_\text{th}$, one number, for hard and for soft resets, attached and detached. Again `lif_backward` gives
# $dX$, and so $dH = \tau\,dX$. What was carried, $dV[t]$, is what step $t+1$ handed back:
# $dV[t] = dH[t+1]\,(1 - \tfrac1\tau)$, and 0 after the last step.
#
# <details><summary>Hint 1</summary>
#
# Of $dH$, what came through the spike? All but the straight path of $V$: take $dV\,(1 - S)$ off for a hard reset,
# $dV$ for a soft one. That, with a minus, summed. Then the soft reset's own $v_\text{th}$:
# $\partial V/\partial v_\text{th} = -S$.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Hard: $\sum dV\,(1 - S) - dH$. Soft: $\sum dV - dH - dV\,S$. Compare the two. With `dh` at hand,
# `dv = np.concatenate([dh[1:], zeros])` times the leak, where `zeros` is one row.
#
# </details>


# %%
def threshold_backward(ds, cache):
    """ds: (T, ...), as of `lif_backward`. Returns dx (T, ...) and dv_th, a number."""
    # BEGIN SOLUTION 12.4
    dx = lif.lif_backward(ds, cache)
    dh = dx * cache.neuron.tau
    zeros = np.zeros_like(dh[:1])
    dv = np.concatenate([dh[1:], zeros]) * (1 - 1 / cache.neuron.tau)
    return dx, (dv * (1 - cache.s) - dh).sum()
    # END SOLUTION


# %%
back_to_threshold = checks.ex_12_4(threshold_backward).use

# %% [markdown]
# One formula for both resets: what the soft reset has more on the straight path, it loses by its own $v_\text{th}$.

# %%
print(inspect.getsource(chapter_12.carried))
print(inspect.getsource(checks.ex_12_4.reference))

# %%
hidden = LIFNeuron(tau=3.0, v_th=0.8)
lines = {"hidden": np.full(60, 0.8)}
for start in (0.3, 0.5, 1.2, 1.6):
    thresholds, losses = learn(
        start, hidden, "v_th", back_to_threshold, 60, 0.2, lambda v_th, step: float(v_th - step)
    )
    lines[f"from {start}"] = thresholds
    print(
        f"from {start}: loss {losses[0]:.3f}, at last {losses[-1]:.3f}, v_th {thresholds[-1]:.3f}"
    )
plots.curves(
    range(60),
    lines,
    title="A threshold finds the hidden one",
    xlabel="update",
    ylabel="v_th (units of X)",
)

# %% [markdown]
# Would it help SpikeBERT? Before you build it: with $v_\text{reset} = 0$ every line of the neuron is linear in the
# membrane but the spike. Divide input and threshold by one number, and the spikes are the same. In a spiking unit
# the input comes out of a layer norm, whose gain and bias are learned. They can do what a threshold would do
# already. What is left is the surrogate: its width stays where it was, while the membrane is scaled.

# %%
half = LIFNeuron(tau=3.0, v_th=0.5)
same = lif_forward(x, neuron=half)[0] == lif_forward(x / 0.5, neuron=replace(half, v_th=1.0))[0]
print("v_th = 0.5, or v_th = 1 and twice the input: the same spikes:", same.all())

# %% [markdown]
# ## 4. Another corpus
#
# A corpus of your own is a folder with two files: a name that holds `train`, a name that holds `dev`. Several
# formats are known (`spikebert data check --help`); the easiest is one text a line, a tab, a label, under the
# heading `sentence<TAB>label`. Here is one made up for this chapter: what guests say of a café.

# %%
FOLDER = Path(tempfile.mkdtemp())  # everything of this section lies here
THINGS = ("soup", "bread", "coffee", "cake", "waiter", "table", "music", "room", "menu", "salad")
BLAME = ("cold", "stale", "rude", "gloomy", "dull", "soggy")
PRAISE = ("warm", "fresh", "kind", "lovely", "bright", "crisp")


def guest(rng):
    """A text, and its label: 1 praise, 0 blame."""
    label, turned = int(rng.integers(2)), rng.random() < 0.4
    word = rng.choice(PRAISE if label != turned else BLAME)
    parts = (
        rng.choice(("the", "their", "my")),
        rng.choice(THINGS),
        rng.choice(("is", "was")),
        "not" if turned else "",
        rng.choice(("", "very", "so")),
        word,
    )
    return " ".join(part for part in parts if part), label


def write(name, rows):
    """Write a file of the corpus."""
    lines = ["sentence\tlabel", *(f"{text}\t{label}" for text, label in rows)]
    path = FOLDER / "cafe" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def spikebert(arguments, last=20):
    """Run a command of the package in FOLDER; print it and the last lines of what it says."""
    run = [sys.executable, "-m", "spikebert_np", *shlex.split(arguments)]
    done = subprocess.run(run, cwd=FOLDER, capture_output=True, text=True, check=False)
    said = done.stderr if done.returncode else done.stdout
    print(f"$ spikebert {arguments}", *said.splitlines()[-last:], "", sep="\n")


rng = np.random.default_rng(0)
train, dev = [guest(rng) for _ in range(400)], [guest(rng) for _ in range(100)]
write("train.tsv", train)
write("dev.tsv", dev)

# %% [markdown]
# **First look.** `data check` reads exactly what training would read. Go through it line by line: is each file the
# split that you meant? Are the letters right? Are both labels there, and how often (the majority is what a student
# must beat)? Are texts longer than 128 tokens? And the last lines: what stands there twice.

# %%
spikebert("data check cafe")

# %% [markdown]
# Some texts of dev stand in train. A student that learns train by heart has them right, and a score on those is no
# evidence.
#
# ### Exercise 12.5: find them
#
# For each text of dev, True or False: whether it stands in train, and whether it repeats an *earlier* one of dev.
# Return two arrays, as long as dev. Two texts are the same if they differ in nothing but upper case and white space.
#
# <details><summary>Hint 1</summary>
#
# Bring all texts into one form first. `str.lower` does the one half; `text.split()` without an argument cuts at any
# run of white space.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `key = " ".join(text.lower().split())`. Then `key in keys_of_train`, a set; and `key in keys[:i]` for the i-th text
# of dev.
#
# </details>


# %%
def overlaps(train, dev):
    """train, dev: lists of texts. Returns two arrays of True and False, as long as dev."""
    # BEGIN SOLUTION 12.5
    known = {" ".join(text.lower().split()) for text in train}
    keys = [" ".join(text.lower().split()) for text in dev]
    in_train = np.array([key in known for key in keys])
    return in_train, np.array([key in keys[:i] for i, key in enumerate(keys)])
    # END SOLUTION


# %%
find_overlaps = checks.ex_12_5(overlaps).use

# %% [markdown]
# Ours counts for `data check` in the same way. Now dev without them:

# %%
print(inspect.getsource(split.text_key))
print(inspect.getsource(checks.ex_12_5.reference))
in_train, repeated = find_overlaps([text for text, _ in train], [text for text, _ in dev])
print(f"{sum(in_train)} of {len(dev)} stand in train, {sum(repeated)} repeat an earlier one\n")
write(
    "dev.tsv",
    [row for row, *twice in zip(dev, in_train, repeated, strict=True) if not any(twice)],
)
spikebert("data check cafe")

# %% [markdown]
# **Then a teacher.** For English there is one to fetch, `spikebert teacher get minilm` (83 MB). Where there is none,
# make one from nothing but text, and then fine-tune it on the labels. This one is tiny, and 400 texts are not much
# to learn a language from.
#
# **Then the cache**: what the teacher makes of each text, written down once. Look at its accuracy on dev, which is
# printed: a student that learns from the teacher alone gets no further.

# %%
few = "--epochs 12 --batch-tokens 256 --learning-rate 2e-3 --patience 12 --quiet"
size = "--layers 1 --hidden 64 --heads 2 --vocab-size 200"
spikebert(f"teacher train --text cafe/train.tsv {size} {few} --out plain", last=3)
spikebert(f"teacher finetune --teacher plain --data cafe {few} --out teacher", last=3)
spikebert("teacher cache --teacher teacher --data cafe --layers 1 --out cache")

# %% [markdown]
# **Then students.** One learns mostly from the teacher, as in stage 2. The other learns from the labels alone.

# %%
small = "--cache cache --width 32 --heads 2 --blocks 1"
long = "--epochs 16 --batch-tokens 256 --learning-rate 3e-3 --quiet"
alone = "--w-ce 1 --w-kl 0 --w-feat 0 --w-emb 0 --embedding random"
spikebert(f"finetune {small} {long} --out distilled", last=3)
spikebert(f"finetune {small} {long} {alone} --out direct", last=3)

# %%
for run in ("distilled", "direct"):
    spikebert(f"evaluate {run} --data cafe/dev.tsv")
    spikebert(f'predict --run {run} "the waiter was not very kind" "my soup was not cold"')

# %% [markdown]
# (`predict` prints the answer and its probability.) Read it honestly. Compare the first student's accuracy with its
# teacher's, two cells up: what the teacher gets wrong, it hands on. Here the labels alone may well teach more.
# Distillation pays where the teacher knows what the labels do not say: MiniLM has read a great deal. And with 85 texts
# in dev one of them is more than a per cent, on one seed: small differences say nothing.
#
# A run's folder holds `config.toml` (repeat it with `--config`), `metrics.jsonl` and `report.md`. All of the above, and
# baselines, and several seeds, is one command with a recipe: `spikebert recipes sst2` prints one to start from.

# %%
shutil.rmtree(FOLDER)  # leave this out to keep the corpus and the runs

# %% [markdown]
# ## 5. Projects
#
# Each has a question that nobody has answered for you, where to read, and a first command. Without `--cache` these
# train on the corpus that travels with the package, in a minute or two. Add `--seed 1` and `--seed 2` before you
# believe anything.
#
# | question | read | first command |
# |---|---|---|
# | Does a student gain by a $\tau$ of its own in each layer? First: is any other fixed $\tau$ better than 2? | `layers/lif.py`, `blocks/spiking_linear.py` | `spikebert finetune --tau 3 --out runs/tau3` |
# | Does a soft reset help where T is 4? Does more get through twelve blocks? | `layers/lif.py`, `training/depth.py` | `spikebert finetune --reset soft --out runs/soft` |
# | How much does the surrogate matter? Does its width matter more than its form? | `layers/surrogate.py` | `spikebert finetune --surrogate triangle --alpha 1 --out runs/triangle` |
# | How silent can a student be before it errs? Which layer should be silent? | `training/distill.py`, `analysis/energy.py` | `spikebert finetune --w-rate 3 --out runs/silent` |
# | What does a student know of word order, and where does it come from? | `blocks/spike_input.py`, `blocks/ssa.py` | `spikebert finetune --no-positions --kernel-width 1 --out runs/no-order` |
# | Does the attention map tell why a sentence was judged so? Take words out, and see. | `analysis/plots.py`, `blocks/ssa.py` | `spikebert demo` |
# | Is attention worth its operations beside windows of words? | `models/spiking_textcnn.py` | `spikebert finetune --model spiking_textcnn --out runs/cnn` |
# | A triangle's slope is zero away from the threshold. Can $dX = dZ\,W^\top$ go by events then, though a layer norm stands between $dH$ and $dZ$? From which width on does it pay? | `layers/linear_numba.py`, chapter 10 | `spikebert bench --profile` |
# | What does a student of films know of your subject? | `training/linear_head.py` | `spikebert data check YOUR-FOLDER`, then `spikebert probe` |
# | A language without a BERT: how much text does a teacher need? | `training/pretrain_teacher.py` | `spikebert recipes chnsenti` |
# | Write a layer that is not here (an adaptive threshold, synapses with a current of their own), with its backward pass, its case and its wrong passes. | `checking/layer_cases.py`, `checking/lif_mutants.py` | `spikebert gradcheck lif --mutants` |
#
# Three habits for all of them. Check the gradient before you train. Measure beside a baseline, with the same budget,
# on several seeds. And write down what did not work.
#
# ## What to take along
#
# - A constant's gradient is a sum over all the places that read it, of what arrives there times its direct derivative. The walk
#   through time is done once, for all constants.
# - $d\tau = -\sum dH\,(H[t] - V[t-1])/\tau$. Learn $w$ with $\tau = 1 + e^{-w}$.
# - $dv_\text{th} = \sum dV\,(1 - S) - dH$, for both resets.
# - A soft reset counts; a hard one forgets what lies above. Soft, a spike is no wall for the gradient.
# - Look at a corpus before you train on it, and take what stands in train out of dev.
