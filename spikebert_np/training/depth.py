"""What many blocks do to gradients and spikes, and what mends it: `spikebert depth`.

The gradient does not vanish, it explodes, and from one place: the steps of a token at which nothing
has fired. There x = 0, and each unit's layer norm is given its bias alone, and divides by the small
spread of that, about 1/sqrt(3 D); the head's divides by sqrt(eps). So does the gradient, in each
block again. A bias alone hardly reaches the threshold at the first step (of D uniform numbers, none
lies much above sqrt(3) times their spread, and tau = 2 asks for 2): while it fires in no block, a
silent row stays silent to the end. In 12 blocks, 64 wide, on SST-2, that is so in three of six
seeds. One or two in a hundred rows are silent there, and theirs is the whole gradient, some 1e5
times that of all others, which clipping by the norm of the whole then wipes out. In the other three
some block's bias fires, and from there on the gradient is even. What lets every token fire at the
first step mends it.

Letters: N packed tokens, D width.
"""

from collections.abc import Mapping
from itertools import islice
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from ..analysis.firing import firing_rates
from ..data.batches import batch_indices, make_batch, select_sentences
from ..layers.lif import LIFNeuron
from .corpora import split_corpus
from .loop import TrainingSettings, batch_targets, train
from .stages import new_student, student_config
from .step import training_step

BATCH_TOKENS = 256
PROBES = 4  # batches that are measured on, before training and after
_NOTHING = MappingProxyType({})


class Remedy(NamedTuple):
    """What differs from the deep student as it is, under the fields' names."""

    name: str
    label: str
    model: Mapping = _NOTHING
    neuron: Mapping = _NOTHING
    training: Mapping = _NOTHING
    every_block: bool = False  # whether each block learns from a layer of the teacher


REMEDIES = (
    Remedy("as-it-is", "as it is"),
    Remedy("two-blocks", "2 blocks", model={"blocks": 2}),
    Remedy("threshold", "threshold 0.5", neuron={"v_th": 0.5}),
    Remedy("two-lower", "2 blocks, threshold 0.5", model={"blocks": 2}, neuron={"v_th": 0.5}),
    Remedy("tau", "tau = 1.5", neuron={"tau": 1.5}),
    Remedy("batch-norm", "batch norm", model={"norm": "batch"}),
    Remedy("features", "features in every block", training={"w_feat": 0.1}, every_block=True),
    Remedy("alpha", "a flatter surrogate, alpha = 1", neuron={"alpha": 1.0}),
    Remedy("scale", "attention scale 0.5", model={"scale": 0.5}),
    Remedy("soft-reset", "soft reset", neuron={"reset": "soft"}),
)


def deep_model(remedy, *, width, blocks):
    """The model's choices, as `student_config` takes them."""
    neuron = LIFNeuron(**remedy.neuron)
    return {"width": width, "blocks": blocks, "heads": 8, "neuron": neuron} | remedy.model


def deep_settings(remedy, *, seed):
    """The TrainingSettings: stage 2's, without features and words where the remedy has none."""
    without = {"epochs": 1, "batch_tokens": BATCH_TOKENS, "w_feat": 0.0, "w_emb": 0.0}
    return TrainingSettings(**without | remedy.training, seed=seed)


def measure_depth(cache, remedy, *, width, blocks, updates, seed=0, quiet=False):
    """A dict: `start` and `end`, each `gradient`, `firing` and `silent`, a number a block; of about
    so many updates of at most BATCH_TOKENS tokens in between, `step`, their number, `kl`,
    `dev_accuracy` and `seconds`.

    gradient: the Euclidean norm of the loss's gradient by all parameters of a block, before
    clipping. firing: the share of the block's neurons that fire. silent: the share of (step, token)
    rows in which none of the spikes that the block's MLP reads has fired. All are means over PROBES
    batches that training does not see.
    """
    model = deep_model(remedy, width=width, blocks=blocks)
    config = student_config(cache, where=remedy.name, **model)
    settings = deep_settings(remedy, seed=seed)
    corpus = split_corpus(cache, "train")
    if remedy.every_block:
        corpus = corpus._replace(hidden=_for_every_block(corpus.hidden, config.blocks))
    # Drawn, for a corpus may have all of one class first: some sentences to learn from, and some
    # more to measure on.
    order = np.random.default_rng(seed).permutation(len(corpus.offsets) - 1)
    tokens = np.cumsum(np.diff(corpus.offsets)[order])  # of all sentences so far
    wanted = BATCH_TOKENS * np.array([updates, updates + PROBES])
    cut, end = np.searchsorted(tokens, wanted, side="right")
    cut = max(1, min(cut, len(order) - 1))
    learnt, rest = (
        select_sentences(corpus, part) for part in (order[:cut], order[cut : max(end, cut + 1)])
    )
    params, records = new_student(cache, config, settings), []
    start = _probe(params, config, settings, rest)
    trained = train(
        params,
        config,
        settings,
        learnt,
        dev=split_corpus(cache, "dev"),
        log=records.append,
        quiet=quiet,
    )
    measured = {name: records[0][name] for name in ("step", "kl", "dev_accuracy", "seconds")}
    return measured | {"start": start, "end": _probe(trained, config, settings, rest)}


def _for_every_block(hidden, blocks):
    """{block: hidden states}: the cache's layers in turn, each for its share of the blocks."""
    layers = [hidden[block] for block in sorted(hidden)]
    return {i: layers[i * len(layers) // blocks] for i in range(blocks)}


def _probe(params, config, settings, corpus):
    weights, dtype = settings.loss_weights, params["embedding.weight"].dtype
    gradient, firing, silent = np.zeros((3, config.blocks))
    batches = batch_indices(corpus.offsets, max_tokens=settings.batch_tokens)
    count = min(PROBES, len(batches))
    for index in islice(batches, count):
        batch = make_batch(corpus.ids, corpus.offsets, corpus.labels, index)
        targets = batch_targets(corpus, index, weights, None, dtype)
        rng = np.random.default_rng(settings.seed)
        step = training_step(params, config, batch, targets, weights, rng=rng, parts=1)
        grads, [cache] = step.grads, step.caches
        rates = firing_rates(cache)
        for i in range(config.blocks):
            own = [value for key, value in grads.items() if key.startswith(f"blocks.{i}.")]
            squares = sum(np.square(value, dtype=np.float64).sum() for value in own)
            gradient[i] += np.sqrt(squares) / count
            layers = [rate for name, rate in rates.items() if name.startswith(f"blocks.{i}.")]
            firing[i] += np.mean(layers) / count
            read = cache.blocks[i].mlp.up.linear.x  # (T, N, D)
            silent[i] += (~read.any(axis=-1)).mean() / count
    return {
        "gradient": gradient.tolist(),
        "firing": firing.tolist(),
        "silent": silent.tolist(),
    }
