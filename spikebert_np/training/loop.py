"""The training loop of both stages: which one it is, the loss weights decide.

Letters: N packed tokens, V vocabulary, S sentences.
"""

from dataclasses import dataclass
from time import perf_counter

import numpy as np

from ..data.batches import batch_indices, gather_sentences, make_batch
from ..errors import InputError
from ..models.kinds import kind_of
from .distill import FEATURE_LOSSES, LossWeights, Targets
from .inference import accuracy, predict_logits
from .optim import adamw_init, update
from .ranges import check_ranges
from .schedule import warmup_cosine
from .step import step_workers, training_step
from .workers import workers

EMBEDDINGS = ("teacher", "contextual", "random")
FEATURE_BLOCKS = ("all", "first", "last")
# A batch's share in the statistics that batch norm evaluates by, as in PyTorch.
MOMENTUM = 0.1


@dataclass(frozen=True)
class TrainingSettings:
    """How a stage is trained; the five w_* are the weights of `distill.py`.

    embedding: what the word embeddings start from: "teacher" (its own), "contextual" (what it makes
    of them in their sentences: `word_rows.py`) or "random".
    feature_loss: what w_feat weighs, one of FEATURE_LOSSES in `distill.py`. feature_blocks: which
    of the blocks that the cache has hidden states for learn from them: "all", "first" or "last".
    Raises ValueError where a number is out of range, or no loss reaches the network.
    """

    epochs: int = 4
    batch_tokens: int = 768
    learning_rate: float = 1e-3
    warmup: float = 0.1
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    w_ce: float = 0.1
    w_kl: float = 1.0
    w_feat: float = 0.1
    w_emb: float = 0.1
    w_rate: float = 0.0
    feature_loss: str = "mse"
    feature_blocks: str = "all"
    temperature: float = 2.0
    embedding: str = "teacher"
    seed: int = 0

    def __post_init__(self):
        check_ranges(
            self,
            from_zero="epochs warmup weight_decay w_ce w_kl w_feat w_emb w_rate seed",
            above_zero="batch_tokens learning_rate clip_norm temperature",
            at_most_one="warmup",
        )
        if self.embedding not in EMBEDDINGS:
            raise ValueError(f'embedding = "{self.embedding}": choose from {", ".join(EMBEDDINGS)}')
        for name, known in (("feature_loss", FEATURE_LOSSES), ("feature_blocks", FEATURE_BLOCKS)):
            if (value := getattr(self, name)) not in known:
                raise ValueError(f'{name} = "{value}": choose from {", ".join(known)}')
        if not (self.w_ce or self.w_kl or self.w_feat):
            raise ValueError("w_ce, w_kl and w_feat are all 0: nothing would be learnt")

    @property
    def loss_weights(self):
        return LossWeights(
            self.w_ce,
            self.w_kl,
            self.w_feat,
            self.w_emb,
            self.temperature,
            self.feature_loss,
            self.w_rate,
        )

    def feature_targets(self, hidden):
        """{block: hidden states} of the blocks that are to learn from them."""
        if self.feature_blocks == "all":
            return hidden
        block = min(hidden) if self.feature_blocks == "first" else max(hidden)
        return {block: hidden[block]}


def batch_targets(corpus, index, weights, word_rows, dtype):
    """The Targets of the sentences `index`, cast to the student's dtype."""

    def rows(values):
        return values[index].astype(dtype)

    hidden = None
    if weights.feat:
        hidden = {
            block: gather_sentences(values, corpus.offsets, index).astype(dtype)
            for block, values in corpus.hidden.items()
        }
    return Targets(
        corpus.labels[index] if weights.ce else None,
        rows(corpus.logits) if weights.kl else None,
        hidden,
        word_rows if weights.emb else None,
    )


class Averages:
    """Running means of one epoch, each weighted by the sentences that it was taken over."""

    def __init__(self):
        self.sums, self.sentences = {}, {}

    def add(self, values, sentences):
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(value) * sentences
            self.sentences[name] = self.sentences.get(name, 0) + sentences

    def add_step(self, step, batch):
        """Add a Step on a Batch: its losses, and the shares that fired and that are right."""
        values = {"loss": step.loss, **step.losses}
        if (firing_rate := step.firing_rate()) is not None:
            values["firing_rate"] = firing_rate
        self.add(values, len(batch.index))
        if batch.labels is not None and (known := batch.labels >= 0).any():
            right = accuracy(step.logits[known], batch.labels[known])
            self.add({"train_accuracy": right}, int(known.sum()))

    def means(self):
        return {name: total / self.sentences[name] for name, total in self.sums.items()}


def train(
    params,
    config,
    settings,
    corpus,
    *,
    dev=None,
    word_rows=None,
    log,
    checkups=None,
    backend="numba",
    quiet=False,
):
    """Train in place for settings.epochs.

    params: changed in place. corpus, dev: Corpus; with dev, the epoch of the best dev accuracy is
    kept, else the last. word_rows: (V, D_emb), needed where w_emb > 0. log: called with a dict
    after each epoch. checkups: the Checkups that look at the network on the way, if any. quiet: no
    progress bar. On how many cores it runs, and whether it is looked at, changes no number.
    Returns the kept parameters. Raises InputError where the loss or a gradient is not finite.
    """
    from tqdm import tqdm

    rng = np.random.default_rng(settings.seed)
    state, weights = adamw_init(params), settings.loss_weights
    if weights.feat:
        corpus = corpus._replace(hidden=settings.feature_targets(corpus.hidden))
    dtype = params["embedding.weight"].dtype
    best, best_accuracy, step = params, -1.0, 0
    epochs = [
        batch_indices(corpus.offsets, max_tokens=settings.batch_tokens, rng=rng)
        for _ in range(settings.epochs)
    ]
    total_steps = sum(len(batches) for batches in epochs)

    def learn(index):
        """One step; what it held is free before the next."""
        nonlocal state, step
        batch = make_batch(corpus.ids, corpus.offsets, corpus.labels, index)
        targets = batch_targets(corpus, index, weights, word_rows, dtype)
        due = checkups is not None and checkups.due(step)
        result = training_step(
            params, config, batch, targets, weights, rng=rng, backend=backend, run=run, watched=due
        )
        if due:
            checkups.examine(step, result)
        rate = warmup_cosine(step, total_steps, peak=settings.learning_rate, warmup=settings.warmup)
        state, norm = update(params, result.grads, state, rate, settings, backend=backend, run=run)
        for what, value in (("loss", result.loss), ("gradient's norm", norm)):
            if not np.isfinite(value):
                if checkups is not None and not due:
                    checkups.examine(step, result)
                raise InputError(
                    f"the {what} is {value} at step {step + 1}: lower --learning-rate (now "
                    f"{settings.learning_rate}) or --clip-norm (now {settings.clip_norm})"
                )
        for cache in result.caches:
            for key, seen in kind_of(config).statistics(cache).items():
                params[key] += MOMENTUM * (seen - params[key])
        step += 1
        averages.add_step(result, batch)

    with workers(step_workers()) as run:
        for epoch, batches in enumerate(epochs, start=1):
            started, averages = perf_counter(), Averages()
            bar = tqdm(batches, desc=f"epoch {epoch}/{settings.epochs}", disable=quiet, leave=False)
            for index in bar:
                learn(index)
                bar.set_postfix({name: f"{mean:.3g}" for name, mean in averages.means().items()})
            record = {"epoch": epoch, "step": step, **averages.means()}
            if dev is not None:
                logits = predict_logits(
                    params, config, dev.ids, dev.offsets, backend=backend, run=run
                )
                record["dev_accuracy"] = accuracy(logits, dev.labels)
                if record["dev_accuracy"] > best_accuracy:
                    best_accuracy = record["dev_accuracy"]
                    best = {key: value.copy() for key, value in params.items()}
            log(record | {"seconds": perf_counter() - started})
    return best
