"""What a student makes of one sentence: its answer, and what in the sentence made it.

    margin            the answer's logit less the largest other
    a token's part    margin - margin of the same answer without the token

To silence a token is to leave it out (Li et al. 2016, arXiv 1612.08220): the student reads the
sentence once more without it. In packed form nothing stands in its place, no pad and no mask. It
sends no current and no spike, no word attends to it, and the mean does not count it; those before
and behind it become neighbours, and those behind move up one position. A part above zero spoke for
the answer; one above the margin decided it, for without that token the answer is another. The parts
need not add up to the margin: two words that say the same leave little to miss in either.

Letters: T spike steps, n tokens of one sentence, H heads, C classes.
"""

from typing import NamedTuple

import numpy as np

from ..blocks.ssa import attention_map
from ..data.tokenizer import encode_texts
from ..layers.losses import log_softmax
from ..models.spikebert import SpikeBertCache, spikebert_forward
from .energy import millijoules
from .firing import mean_firing_rate, spike_layers
from .operations import count_student


class Explanation(NamedTuple):
    """One sentence; the cache is kept whole, as pictures show single spikes."""

    sentence: str
    tokens: list  # n strings, as read
    truncated: bool  # whether tokens were lost to max_tokens
    logits: np.ndarray  # (C,)
    logits_without: np.ndarray  # (n, C): row i of the sentence without token i
    cache: SpikeBertCache

    @property
    def answer(self):
        """The class of the largest logit."""
        return int(self.logits.argmax())

    @property
    def probabilities(self):
        """(C,), the softmax of the logits."""
        return np.exp(log_softmax(self.logits))

    @property
    def margin(self):
        """The answer's logit less the largest other; above 0 but for a tie."""
        return float(_margin(self.logits, self.answer))

    @property
    def parts(self):
        """(n,): what each token adds to the margin."""
        return self.margin - _margin(self.logits_without, self.answer)

    @property
    def answers_without(self):
        """(n,): the class without each token."""
        return self.logits_without.argmax(axis=-1)

    @property
    def spikes(self):
        """{layer: (n,) spikes of each token, over all steps and neurons}."""
        return {name: s.sum(axis=(0, 2)) for name, s in spike_layers(self.cache).items()}

    def attention(self, layer=-1, head=None):
        """(n, n): see `sentence_attention`."""
        return sentence_attention(self.cache, layer, head)

    @property
    def millijoules(self):
        """{rule: theoretical energy of this sentence} (see `energy.py`)."""
        return millijoules(count_student(self.cache))


def explain(sentence, tokenizer, params, config, *, run=map, quiet=False):
    """The Explanation of one sentence by a SpikeBERT of two classes or more.

    n + 1 forward passes: the sentence, then without each of its n tokens. run: `map`, or that of
    `training.workers`, which reads several at once. quiet: no progress bar, which else comes after
    two seconds.
    """
    from tqdm import tqdm

    def read(ids):
        output, cache = spikebert_forward(ids, np.array([0, len(ids)]), params, config, taps=False)
        return output.logits[0], cache  # (C,)

    def read_without(i):
        return read(np.delete(ids, i))[0]  # (C,)

    ids, _, truncated = encode_texts(tokenizer, [sentence], max_tokens=config.max_tokens)
    logits, cache = read(ids)
    bar = {"desc": "without each token", "total": len(ids), "leave": False, "delay": 2}
    without = list(tqdm(run(read_without, range(len(ids))), **bar, disable=quiet))
    tokens = [tokenizer.id_to_token(token) for token in ids.tolist()]
    return Explanation(sentence, tokens, bool(truncated), logits, np.stack(without), cache)


def sentence_attention(cache, layer=-1, head=None):
    """q kᵀ of one block, summed over the steps, (n, n): row i is what token i reads.

    cache: of a forward pass on one sentence. head: one of 0 .. H-1, or None for the sum of all.
    """
    maps = _attention(cache.blocks[layer].ssa)  # (H, n, n)
    return maps.sum(axis=0) if head is None else maps[head]


def explanation_record(explanation):
    """The Explanation as a dict that JSON can hold."""
    cache = explanation.cache
    layers = spike_layers(cache)
    return {
        "sentence": explanation.sentence,
        "tokens": explanation.tokens,
        "truncated": explanation.truncated,
        "steps": cache.head.time.steps,
        "threshold": cache.input.encoding.neuron.v_th,
        "answer": explanation.answer,
        "probabilities": explanation.probabilities.tolist(),
        "margin": explanation.margin,
        "parts": explanation.parts.tolist(),
        "answers_without": explanation.answers_without.tolist(),
        "layers": [
            {"name": name, "neurons": layers[name].shape[2], "spikes": spikes.tolist()}
            for name, spikes in explanation.spikes.items()
        ],
        "firing_rate": mean_firing_rate(cache),
        "attention": [_attention(ssa).tolist() for ssa, _ in cache.blocks if ssa is not None],
        "theoretical_millijoules": explanation.millijoules,
    }


def _margin(logits, answer):
    """(...,) from logits (..., C)."""
    return logits[..., answer] - np.delete(logits, answer, axis=-1).max(axis=-1)


def _attention(ssa):
    """(H, n, n) of a block's SSACache."""
    q, k, heads = ssa.attention.q, ssa.attention.k, ssa.attention.heads
    return attention_map(q, k, heads).sum(axis=0)
