# %% [markdown]
# # 09 The demo: train a student, and find where it errs
#
# Here a spiking student learns to judge film reviews, in this notebook, in about a minute. What then? One
# accuracy says little. This chapter reads the run's report, asks which sentences are wrong and why, looks into the
# network while it reads a sentence of yours, and asks whether the teacher was worth it.
#
# **After this chapter you can** train a student and read its run folder, read a learning curve, break an accuracy
# down, tell which word pleads for which verdict, and compare two students honestly.
#
# **Time** about 40 minutes, six exercises. **You need** NumPy. The losses are chapter 08's and are boxes here.
#
# How the exercises work: you write a function in place of `raise NotImplementedError(...)`, and run
# the cell below it. It prints a table, a verdict and, where something is wrong, the likely mistake.
# If you skip an exercise, the chapter goes on with our own answer.

# %%
import inspect
import json
import re
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from spikebert_np.analysis import neuron_plots as plots
from spikebert_np.analysis import training_plots
from spikebert_np.analysis.explanation import sentence_attention
from spikebert_np.analysis.firing import firing_rates, spike_layers
from spikebert_np.checking import exercises as checks
from spikebert_np.checking.chapter_09 import RECORD, SENTENCES, rule
from spikebert_np.commands.demo import MODEL, STAGE1, STAGE2
from spikebert_np.data.shipped import open_cache
from spikebert_np.data.tokenizer import encode_texts, load_tokenizer
from spikebert_np.data.toy_reviews import ADJECTIVES, INTENSIFIERS, NEGATIONS, toy_reviews
from spikebert_np.models.bag_of_words import fit_naive_bayes, predict_naive_bayes
from spikebert_np.models.spikebert import spikebert_forward
from spikebert_np.training.corpora import split_corpus, stage1_corpus
from spikebert_np.training.inference import classify, predict_logits
from spikebert_np.training.loop import TrainingSettings
from spikebert_np.training.recipe import WITHOUT_TEACHER
from spikebert_np.training.stages import new_student, run_stage, run_tables, student_config

# %% [markdown]
# ## 1. What is to be learnt
#
# `toy_reviews` is made by a small grammar. A label is 1 for praise, 0 for blame, and it follows a rule:
#
# - the last clause that judges decides, so that "A, but B" means B;
# - *not, never, hardly, barely, scarcely* turn their clause around, even with a word such as *really* between;
# - some sentences have a neutral clause, before or after.
#
# The test split holds combinations that training never shows, such as of a subject and an adjective. So it cannot
# be learnt by heart.

# %%
splits = toy_reviews()
train, test = splits["train"], splits["test"]
for text, label in zip(train.texts[:6], train.labels[:6], strict=True):
    print(label, text)
print({name: len(split.texts) for name, split in splits.items()})
print("share of praise in test:", test.labels.mean())

# %% [markdown]
# ### Exercise 9.1: predict, then run
#
# - `"A"` to `"D"`: the labels, 1 or 0, of the four sentences below.
# - `"majority class"`: the accuracy on test of whoever always gives the commoner answer.
# - `"praise where sharp stands"`: of all training sentences with the word *sharp*, how many are praise? `"most"`,
#   `"about half"` or `"few"`.
#
# <details><summary>Hint 1</summary>
#
# Strike out neutral clauses, and all that stands before *but*. Is there a negation in what is left?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Plain, negated and *but* sentences are a third each. Where does *sharp* stand in praise, and where in blame?
#
# </details>

# %%
for letter, text in SENTENCES.items():
    print(f"{letter}: {text}")


# %%
def predict_labels():
    """Return the six answers under the names above."""
    # BEGIN SOLUTION 9.1
    return {
        "A": 1,
        "B": 0,
        "C": 0,
        "D": 1,
        "majority class": 0.5,
        "praise where sharp stands": "about half",
    }
    # END SOLUTION


# %%
checks.ex_09_1(predict_labels)

# %% [markdown]
# Single words tell next to nothing, by design. Two neighbours tell a little: *not sharp* is blame, but *not really
# sharp* is too. Here are the words, the simple baselines, and the rule itself.

# %%
for word in ("sharp", "dull", "never", "really", "but"):
    share = np.mean([label for text, label in zip(*train, strict=True) if word in text.split()])
    print(f"{share:.2f} of the training sentences with {word!r} are praise")
pairs = fit_naive_bayes(*train, 2)
bayes = predict_naive_bayes(pairs, test.texts)
ruled = [rule(text, ADJECTIVES[1], ADJECTIVES[0], NEGATIONS) for text in test.texts]
print("accuracy on test: majority class", np.mean(test.labels == 0))
print(f"  words and pairs of neighbours, naive Bayes: {np.mean(bayes == test.labels):.3f}")
print(f"  the rule: {np.mean(ruled == test.labels):.3f}")
print(inspect.getsource(rule))

# %% [markdown]
# ## 2. Train
#
# Two students of one shape. One is **distilled**: stage 1 on the teacher's hidden states, then stage 2 on its
# logits and the labels. One is trained **directly**, on the labels alone. It is what `spikebert demo` does.
# While they learn, we note after each epoch how many neurons of each layer fire, on some dev sentences: the
# parameters are changed in place, so the network can be run between two epochs.
#
# The first time, some kernels are compiled, which takes longer than the training of an epoch.

# %%
SEED = 1
runs, fired = Path(tempfile.mkdtemp()), {}
cache = open_cache("toy_reviews")
config = student_config(cache, **MODEL)
stage1, stage2 = (TrainingSettings(**stage, seed=SEED) for stage in (STAGE1, STAGE2))
alone = replace(stage2, **WITHOUT_TEACHER)
dev = split_corpus(cache, "dev")
some = dev.offsets[:49]  # of 48 sentences


def run(name, stage, params, settings, init=""):
    """Train one stage into the folder `name`, and note the firing by layer. Returns its params."""
    fired[name] = []

    def note(record):
        _, forward = spikebert_forward(dev.ids[: some[-1]], some, params, config, taps=False)
        fired[name].append(firing_rates(forward))
        dev_accuracy = f", dev accuracy {record['dev_accuracy']:.3f}" if stage == "finetune" else ""
        print(f"{name}, epoch {record['epoch']:2}: loss {record['loss']:.3f}{dev_accuracy}")

    tables = run_tables(stage, cache, settings, name="toy_reviews", init=init)
    return run_stage(
        runs / name,
        stage,
        cache,
        params,
        config,
        settings,
        tables=tables,
        on_epoch=note,
        quiet=True,
    )[0]


# %%
params = run("stage1", "pretrain", new_student(cache, config, stage1), stage1)

# %% [markdown]
# What has stage 1 learnt? A loss by itself may deceive. Chapter 08 asked what it costs to answer with the teacher's
# mean row, whatever the word; here it stands again. Beside it, how the student's features and the teacher's go up and
# down *together*, each less its mean row: their correlation, 0 for nothing and 1 for all.

# %%
read = stage1_corpus(cache)
first = read.offsets[:101]  # of 100 sentences
output, _ = spikebert_forward(read.ids[: first[-1]], first, params, config)
for block, hidden in read.hidden.items():
    tap, target = output.taps[block], hidden[: first[-1]].astype(np.float32)
    ours, theirs = tap - tap.mean(axis=0), target - target.mean(axis=0)
    print(f"block {block}: loss {np.square(tap - target).mean():.2f}, the mean row pays",
          f"{np.square(theirs).mean():.2f}; correlation {np.corrcoef(ours.flat, theirs.flat)[0, 1]:.2f},",
          f"deviation of ours {tap.std():.2f}, of theirs {target.std():.2f}")  # fmt: skip

# %% [markdown]
# The last block's loss may still be above that of the mean row, and yet much was learnt: a layer norm begins with a
# deviation of 1, the teacher's rows have about half, and the gains need time to shrink. The network behind the tap does
# not wait for that. Now stage 2 from there, and the direct student:

# %%
distilled = run("distilled", "finetune", params, stage2, runs / "stage1")

# %%
direct = run("direct", "finetune", new_student(cache, config, alone), alone)

# %% [markdown]
# A run is a folder. `report.md` is for a reader, `metrics.jsonl` for a program, and `config.toml` repeats the run.

# %%
print(*sorted(path.name for path in (runs / "distilled").iterdir()), sep="\n", end="\n\n")
print((runs / "distilled" / "report.md").read_text(encoding="utf-8"))

# %%
lines = {}
for name in ("distilled", "direct"):
    metrics = (runs / name / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    lines[name] = [json.loads(line)["dev_accuracy"] for line in metrics]
training_plots.learning_curves(lines, title="Accuracy on dev, your two students")

# %% [markdown]
# Do not trust one curve too far: one that is flat for some epochs may rise once more. Below is a longer one, recorded:
# the direct student for 20 epochs (with another seed).
#
# The training curve is taken while an epoch goes on, the dev curve after it. So early on dev may stand higher.
#
# ### Exercise 9.2: read a plot
#
# - `"kept epoch"`: the one whose parameters are kept, which is that of the best dev accuracy, of equals the first;
# - `"kept epoch of 12"`: the one that would have been kept had it ended after 12 epochs;
# - `"dev accuracy at epoch 4"`, to 0.015;
# - `"training above dev for good"`: the first epoch from which on training stands higher at every epoch;
# - `"gap at the end"`: training less dev at epoch 20, to 0.015.
#
# <details><summary>Hint 1</summary>
#
# A faint line is 0.02, a strong one 0.1. The last two points of dev are equal.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# At epochs 13 and 14 dev is on top once more. The gap is that of 0.97 and 0.91.
#
# </details>

# %%
training_plots.learning_curves(RECORD, title="A student trained directly, 20 epochs")


# %%
def read_curve():
    """Return the five numbers under the names above."""
    # BEGIN SOLUTION 9.2
    return {
        "kept epoch": 19,
        "kept epoch of 12": 10,
        "dev accuracy at epoch 4": 0.75,
        "training above dev for good": 15,
        "gap at the end": 0.06,
    }
    # END SOLUTION


# %%
checks.ex_09_2(read_curve)

# %% [markdown]
# Whoever had stopped this run at 12 epochs would have said that it had come to its end. What distillation gives on
# this corpus is, for a good part, an earlier rise. And the kept epoch was *selected* on dev, so dev flatters it. From
# here on we use the test split, which has chosen nothing.
#
# ## 3. Which kind of sentence is wrong?
#
# A single accuracy hides where the errors are. We sort the test sentences by kind: 0 plain, 1 negated, 2 with *but*.
#
# ### Exercise 9.3: write it
#
# The accuracy of each kind: the share of its sentences whose predicted label is right.
#
# $$\text{accuracy}_k = \frac{\#\{s : \text{kind}_s = k,\; \text{predicted}_s = y_s\}}{\#\{s : \text{kind}_s = k\}}$$
#
# <details><summary>Hint 1</summary>
#
# `predicted == labels` is an array of True and False, and `kinds == k` is another. The mean of True and False is a
# share.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `right[kinds == k].mean()` for each k from 0 to `kinds.max()`, in an array.
#
# </details>


# %%
def accuracy_by_kind(predicted, labels, kinds):
    """predicted, labels, kinds: (S,) integers, kinds from 0 to K - 1. Returns (K,)."""
    # BEGIN SOLUTION 9.3
    right = predicted == labels
    return np.array([right[kinds == k].mean() for k in range(kinds.max() + 1)])
    # END SOLUTION


# %%
by_kind = checks.ex_09_3(accuracy_by_kind).use

# %%
KINDS = ("plain", "negated", "with but")


def kind_of(text):
    words = text.split()
    return 2 if "but" in words else int(any(word in NEGATIONS for word in words))


kinds = np.array([kind_of(text) for text in test.texts])
corpus = split_corpus(cache, "test")
logits = {
    name: predict_logits(student, config, corpus.ids, corpus.offsets)
    for name, student in (("distilled", distilled), ("direct", direct))
}
answers = {
    "naive Bayes": bayes,
    "teacher, frozen": corpus.logits.argmax(axis=1),
    "student, direct": logits["direct"].argmax(axis=1),
    "student, distilled": logits["distilled"].argmax(axis=1),
}
scores = {}
for name, predicted in answers.items():
    shares = by_kind(predicted, test.labels, kinds)
    scores[name] = dict(zip(KINDS, shares, strict=True))
    print(f"{name:20} all {np.mean(predicted == test.labels):.3f}  ",
          "  ".join(f"{kind} {share:.3f}" for kind, share in scores[name].items()))  # fmt: skip
training_plots.accuracies(scores, title="Accuracy on test, by kind of sentence")

# %% [markdown]
# How can word pairs do so well on *but*? They leave the comma out, and so the word of the first clause stands beside it:
# *sharp but* leans to blame. A baseline is worth a look too.

# %%
for pair in ("sharp but", "dull but", "but the"):
    blame, praise = np.exp(pairs.log_likelihood[:, pairs.vocabulary[pair]])
    print(f"{pair}: {praise / (praise + blame):.2f} praise, by naive Bayes")

# %% [markdown]
# The other way to cut it is by what was answered: the **confusions**. Whoever errs more one way than the other leans.

# %%
for name, predicted in answers.items():
    table = np.zeros((2, 2), int)
    np.add.at(table, (test.labels, predicted), 1)
    print(f"{name:20} blame taken for praise {table[0, 1]:3}, praise for blame {table[1, 0]:3}")

# %% [markdown]
# ## 4. The hardest sentences
#
# Where a student is wrong *and sure of it*, there is something to learn. The cross-entropy of one sentence,
# $-\log q_y$ with $q = \text{softmax}(\text{logits})$ and its label $y$, says how hard it was: near 0 where the student
# is right and sure, 0.69 where it tosses a coin, and large where it is sure of the wrong label.
#
# ### Exercise 9.4: write it
#
# Return the numbers of the `count` hardest sentences, the hardest first. Write it for any number of classes.
#
# <details><summary>Hint 1</summary>
#
# $\log q_y = z_y - \log \sum_c e^{z_c}$. One entry of each row: `logits[np.arange(S), labels]`.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `np.argsort` gives the numbers of the smallest first: sort by $\log q_y$, and take the first `count`.
#
# </details>


# %%
def hardest(logits, labels, count):
    """logits: (S, C), labels: (S,). Returns (count,) integers, the numbers of the sentences."""
    # BEGIN SOLUTION 9.4
    log_q = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return np.argsort(log_q[np.arange(len(labels)), labels])[:count]
    # END SOLUTION


# %%
worst = checks.ex_09_4(hardest).use

# %%
for name in logits:
    print(f"the {name} student's hardest sentences, and what it says (1 praise, 0 blame):")
    for s in worst(logits[name].astype(np.float64), test.labels, 6):
        print(f"    {logits[name][s].argmax()} for {test.labels[s]}: {test.texts[s]}")

# %% [markdown]
# ## 5. Negation and word order
#
# Test sentences differ in many words at once. A sharper question changes one thing and leaves the rest.
#
# - **A negation put in**: a plain test sentence (without *so* or *very*), with *not* after its verb. The label turns.
# - **An intensifier put in** too: *not really*. The label stays turned, but the two words no longer touch.
# - **The clauses exchanged**: "A, but B" becomes "B, but A". The same words, the other label.
#
# A pair counts where *both* of its sentences are right. A coin gets a quarter of them. Whoever only counts words gets
# none of the exchanged ones.

# %%
tokenizer = load_tokenizer(cache.tokenizer)


def pairs_right(student, change, which):
    """How many test sentences were chosen; the shares right as they are, and changed as well."""
    texts = [text for text in test.texts if which(text)]
    labels = np.array([label for text, label in zip(*test, strict=True) if which(text)])
    before, after = (
        classify(version, tokenizer, student, config)[0].argmax(axis=1)
        for version in (texts, [change(text) for text in texts])
    )
    right = before == labels
    return len(texts), right.mean(), (right & (after == 1 - labels)).mean()


def put_in(words):
    """A change that puts words behind the verb: only a clause that judges begins with *the*."""
    return lambda text: re.sub("(the [a-z ]+? (is|was)) ", rf"\1 {words} ", text)


def exchanged(text):
    first, second = text.split(" , but ")
    return f"{second} , but {first}"


def plain(text):
    return kind_of(text) == 0 and not {*text.split()} & {*INTENSIFIERS}


experiments = {
    "not": (put_in("not"), plain),
    "not really": (put_in("not really"), plain),
    "clauses exchanged": (exchanged, lambda text: " but " in text and " and " not in text),
}
print("put in:", put_in("not really")("it was shot in winter , and the camera work is sharp"))
print("exchanged:", exchanged(SENTENCES["B"]))
for name, (change, which) in experiments.items():
    for student, its in (("distilled", distilled), ("direct", direct)):
        count, alone_right, both = pairs_right(its, change, which)
        print(f"{name:18} {student:10} {count} pairs: {alone_right:.2f} right as they are,",
              f"{both:.2f} in both forms")  # fmt: skip

# %% [markdown]
# Look where your two students differ. In our run the distilled one was far better at negation, and the direct one a
# little better at *but*: one accuracy would not have told. (Yours may be another run in spite of the seed: a machine
# that rounds otherwise sends a spike more or less, and training makes much of it.)
#
# ## 6. A sentence of your own
#
# Write one, of the corpus's words (others become `[UNK]`), and run this section again.

# %%
mine = "the ending was never dull , but the script is so messy"

encoded = encode_texts(tokenizer, [mine])
tokens = [tokenizer.id_to_token(int(i)) for i in encoded.ids]
output, forward = spikebert_forward(encoded.ids, encoded.offsets, distilled, config, taps=False)
print(" ".join(tokens))
verdict = ("blame", "praise")[output.logits[0].argmax()]
print("logits of blame and praise:", output.logits[0], "->", verdict)

# %% [markdown]
# How much fires, word by word and layer by layer. The mean over time and over a layer's neurons:

# %%
rates = {name: s.mean(axis=(0, 2)) for name, s in spike_layers(forward).items()}
training_plots.firing_map(rates, tokens, title="Firing, token by token", xlabel="token")

# %% [markdown]
# And who looks at whom in the last block: how many spikes a query and a key have in common, over all heads and steps.
# Does the adjective look at its negation? Does one clause look at *but*? It need not be so: a map shows where a word
# *can* take something from, not what it does with it.

# %%
attention = sentence_attention(forward)
plots.attention_maps(
    {"q kᵀ of the last block": (attention, "spikes in common")}, tokens, title="Who looks at whom"
)

# %% [markdown]
# Which word pleads for what? The student's head is simple: layer norm of each token's spike sums, the mean over the
# tokens, one linear layer, the mean over the time steps.
#
# $$\text{logits} = \frac1T \sum_t \Bigl[\Bigl(\frac1n \sum_i u_{ti}\Bigr) W + b\Bigr],
# \qquad u = \text{layernorm}(\text{spike sums}).$$
#
# Means and a linear layer: the order of the sums is free. So the logits can be written as a mean of **votes**, one a
# token:
#
# $$\text{logits} = \frac1n \sum_i \text{vote}_i .$$
#
# ### Exercise 9.5: derive, then implement
#
# Find $\text{vote}_i$, the two numbers that token $i$ would have as logits if it were alone, and return all of them.
#
# <details><summary>Hint 1</summary>
#
# Draw the sum over $i$ to the front. What of the bias? $b$ is the mean of $n$ times $b$.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# $\text{vote}_i = \bigl(\frac1T \sum_t u_{ti}\bigr)\,W + b$. The mean over the time steps is over axis 0.
#
# </details>


# %%
def word_votes(normed, weight, bias):
    """normed: u (T, n, D), weight: (D, C), bias: (C,). Returns the votes (n, C)."""
    # BEGIN SOLUTION 9.5
    return normed.mean(axis=0) @ weight + bias
    # END SOLUTION


# %%
votes_of = checks.ex_09_5(word_votes).use

# %%
gain, bias = distilled["head.norm.gain"], distilled["head.norm.bias"]
normed = forward.head.norm.x_hat * gain + bias
votes = votes_of(normed, distilled["head.weight"], distilled["head.bias"])
print("mean of the votes:", votes.mean(axis=0), "  logits:", output.logits[0])
training_plots.votes(votes, tokens, title="What each token pleads for")

# %% [markdown]
# The votes are not those of the words as they stand in the dictionary: before the head, each token has taken from the
# others what attention brought it. `[CLS]`, `,` or a word of the first clause may well plead for what the *second* clause
# says.
#
# ## 7. Firing by layer, through training
#
# What we noted while training. Each column is an epoch: stage 1 first, and right of the line stage 2.

# %%
history = fired["stage1"] + fired["distilled"]
rates = {name: [epoch[name] for epoch in history] for name in history[0]}
epochs = [*range(1, stage1.epochs + 1), *range(1, stage2.epochs + 1)]
training_plots.firing_map(
    rates,
    epochs,
    title="Firing by layer: stage 1, then stage 2",
    xlabel="epoch",
    line=stage1.epochs,
)

# %% [markdown]
# The loss changes at the line, and the layers answer. Look at `ssa.attn`, the neurons that fire on what attention
# gathers, and at `ssa.out`, which reads them: where they are silent, no word hears of another, and the weights before
# them learn little (chapter 05). In our run both sank when stage 2 began, `ssa.out` to one or two per cent. They rose
# again at epochs 6 to 8, just when the dev accuracy jumped.
#
# ## 8. Was the teacher worth it?
#
# Two students, one test split. One accuracy is higher. By chance? Both read the **same** sentences, and what is hard for
# one is often hard for the other. So compare sentence by sentence: with $d_s = 1$ where the first alone is right, $-1$
# where the second alone is, and 0 where they agree,
#
# $$\bar d = \frac1S \sum_s d_s, \qquad \text{standard error} = \sqrt{\frac1S \cdot \frac1S \sum_s (d_s - \bar d)^2} .$$
#
# A difference of less than two standard errors may be chance.
#
# ### Exercise 9.6: write it
#
# Given are two arrays that say which sentences each student has right. Return $\bar d$ and its standard error.
#
# <details><summary>Hint 1</summary>
#
# NumPy does not subtract True and False: make numbers of one of the two arrays first.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `d.mean()`, and `d.std()` over the root of `len(d)`.
#
# </details>


# %%
def paired_difference(first_right, second_right):
    """(S,) of True and False each. Returns the mean difference, and its standard error."""
    # BEGIN SOLUTION 9.6
    d = first_right * 1.0 - second_right
    return d.mean(), d.std() / len(d) ** 0.5
    # END SOLUTION


# %%
compare = checks.ex_09_6(paired_difference).use

# %%
right = {name: predicted == test.labels for name, predicted in answers.items()}
for first, second in (
    ("student, distilled", "student, direct"),
    ("student, distilled", "teacher, frozen"),
    ("student, direct", "naive Bayes"),
):
    difference, error = compare(right[first], right[second])
    print(f"{first} less {second}: {difference:+.3f}, standard error {error:.3f}")

# %% [markdown]
# This error is that of *these two students* on other sentences like these. It says nothing of other students: train
# with another `SEED`, and both accuracies move, often by more. That is why `spikebert demo --seeds 5` prints the mean, the
# lowest and the highest. And the comparison was not quite fair: the distilled student has had 16 epochs of stage 1
# before, on the 300 sentences that have hidden states. Section 2 showed what the direct one does with more time.
#
# ## What to take along
#
# - Look at the corpus and at simple baselines first. They say what an accuracy is worth.
# - A learning curve that is flat may not have ended. The kept epoch was chosen on dev, so dev flatters it.
# - Break an accuracy down: by kind, by confusion, by the hardest sentences, by pairs that differ in one thing.
# - The head is linear after its norm, so a verdict is the mean of votes, one a token.
# - Compare on the same sentences, with the error of the difference; and then with other seeds.
