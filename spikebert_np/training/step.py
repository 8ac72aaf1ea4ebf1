"""One batch's forward pass, losses and backward pass, its sentences shared by two workers.

No sentence looks at another, so that the network may be run on each part of a batch by itself, and
the parts at once. The losses, which are means over the batch, see it whole:

    output_p, cache_p = forward(part p)       dL/dparams = sum over parts p of
    L = loss(output_1, output_2, ...)                      backward(dL/doutput_p, cache_p)

A penalty on the firing rate is of the whole batch too. It is the sum of all spikes, 0 or 1, over
their number, so that its gradient to each spike of each part is one number:

    L = ... + w_rate r,    r = (sum of all s) / (number of all s)      dr/ds = 1 / (number of all s)

A batch is cut into PARTS whether two threads take them or one, one after the other: the numbers of
a run do not hang on how many cores it has.

Letters: B sentences and N packed tokens of the batch, B_p and N_p of a part, C classes.
"""

from typing import NamedTuple

import numpy as np

from ..analysis.firing import mean_firing_rate, spike_layers
from ..models.kinds import kind_of
from .distill import add_row_gradients, distillation_backward, distillation_forward
from .workers import split_batch, sum_gradients, worker_count

PARTS = 2


def step_workers():
    """How many workers a step has here: the cores, but no more than there are parts."""
    return min(PARTS, worker_count())


class Step(NamedTuple):
    loss: float
    losses: dict  # the parts of the loss, unweighted
    grads: dict
    logits: np.ndarray  # (B, C)
    caches: list  # of the forward pass, one a part
    tokens: list  # N_p
    # {layer: (T,)}, the norm of the loss's gradient to all that it puts out at each spike step:
    # of the layers that the model's backward pass lets `watch`; None where nobody watches.
    spike_gradients: dict | None

    def firing_rate(self):
        """The share of all neurons that fired, or None for a model without spikes."""
        # Counted already where it is penalised.
        return self.losses.get("rate") or _firing_rate(self.caches, self.tokens)


def training_step(
    params,
    config,
    batch,
    targets,
    weights,
    *,
    rng,
    backend="numba",
    parts=PARTS,
    run=map,
    watched=False,
):
    """The Step of a Batch and its Targets.

    rng: each part draws its dropout from a child of this Generator; None for a pass without.
    parts: at most so many; a model whose sentences see each other has one. run: `map`, or that of
    `training.workers`, which takes the parts through the network at once. watched: measure the
    Step's spike_gradients, where the model spikes.
    Raises ValueError where the firing of a model without spikes is weighed.
    """
    kind = kind_of(config)
    if weights.rate and not kind.spikes:
        raise ValueError(f"a {kind.name} has no spikes to penalise: rate must be 0")
    spans = split_batch(batch.offsets, 1 if kind.mixes_sentences(config) else parts)
    tokens = [slice(batch.offsets[first], batch.offsets[last]) for first, last in spans]
    sentences = [slice(first, last) for first, last in spans]
    counts = [span.stop - span.start for span in tokens]
    draws = [None] * len(spans) if rng is None else rng.spawn(len(spans))

    def forward(own_sentences, own_tokens, draw):
        first, last = own_sentences.start, own_sentences.stop
        offsets = batch.offsets[first : last + 1] - batch.offsets[first]  # (B_p + 1,)
        taps = bool(weights.feat)
        return kind.forward(
            batch.ids[own_tokens], offsets, params, config, backend=backend, rng=draw, taps=taps
        )

    outputs, caches = zip(*run(forward, sentences, tokens, draws), strict=True)
    output = _join(outputs)
    loss, losses, loss_cache = distillation_forward(
        output, batch.ids, batch.offsets, params["embedding.weight"], targets, weights
    )
    dlogits, dtaps, dembedding = distillation_backward(loss_cache)
    penalty = {}
    watched = watched and kind.spikes
    if weights.rate:
        losses["rate"] = rate = _firing_rate(caches, counts)
        loss += weights.rate * rate
        spikes = sum(s.size for cache in caches for s in spike_layers(cache).values())
        penalty = {"dspike": weights.rate / spikes}

    squares = [{} for _ in spans]  # {layer: (T,)} a part

    def backward(own_sentences, own_tokens, cache, own_squares):
        def watch(name, dx):
            own_squares[name] = np.einsum("tnd,tnd->t", dx, dx)

        own_dlogits = None if dlogits is None else dlogits[own_sentences]  # (B_p, C)
        own_dtaps = [None if dtap is None else dtap[own_tokens] for dtap in dtaps]  # (N_p, ...)
        more = penalty | ({"watch": watch} if watched else {})
        return kind.backward(own_dlogits, own_dtaps, cache, **more)

    grads = sum_gradients(list(run(backward, sentences, tokens, caches, squares)))
    if dembedding is not None:
        grads["embedding.weight"] = add_row_gradients(grads["embedding.weight"], dembedding)
    spike_gradients = None
    if watched:
        spike_gradients = {name: np.sqrt(sum(own[name] for own in squares)) for name in squares[0]}
    return Step(loss, losses, grads, output.logits, list(caches), counts, spike_gradients)


def _firing_rate(caches, tokens):
    """That of all parts together: a neuron has a spike or none for each token and step."""
    rates = [mean_firing_rate(cache) for cache in caches]
    return None if rates[0] is None else float(np.average(rates, weights=tokens))


def _join(outputs):
    """The output of the whole batch, from those of its parts."""
    if len(outputs) == 1:
        return outputs[0]
    taps = [np.concatenate(tap) for tap in zip(*(out.taps for out in outputs), strict=True)]
    return outputs[0]._replace(logits=np.concatenate([out.logits for out in outputs]), taps=taps)
