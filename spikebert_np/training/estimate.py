"""How long, how much memory and disk a step will about take: said before it starts, never measured.

From two figures. Work: a pass forward through a block of width D costs 24 D² floating-point
operations a token (4 D² weights of attention, 8 D² of the MLP, two operations each), and a backward
pass costs twice that again; one core does so many a second as a teacher (MiniLM's fine-tuning reads
1,002 tokens a core-second, BERT-base's 147: README) or as a student. Text: a token for each run of
letters or digits, Chinese character or mark, and one in eight words is cut in two.
"""

import re
from typing import NamedTuple

import numpy as np

from ..data.teacher_cache_shards import token_bytes
from ..models.bert_checkpoint import tensor_names
from .inference import READING_TOKENS
from .memory import kept_bytes, step_bytes
from .step import step_workers
from .teacher_loop import PYTHON_BYTES, training_bytes
from .workers import worker_count

TEACHER_RATE, STUDENT_RATE = 68e9, 50e9
_TOKEN = re.compile(r"[\u3400-\u9fff]|[^\W\u3400-\u9fff]+|[^\w\s]")


class Estimate(NamedTuple):
    seconds: float = 0.0
    disk_bytes: float = 0.0
    memory_bytes: float = PYTHON_BYTES


def count_tokens(texts, max_tokens):
    """About how many tokens texts make, [CLS] and [SEP] included, each cut to max_tokens."""
    return sum(min(max_tokens, 2 + 9 * len(_TOKEN.findall(text)) // 8) for text in texts)


def block_work(width, blocks):
    """Operations a token of a forward pass."""
    return 24 * width**2 * blocks


def bert_bytes(config):
    """Of a BERT's weights, in float32."""
    return 4 * sum(int(np.prod(shape)) for _, shape in tensor_names(config).values())


def teacher_training(config, settings, tokens, longest, *, words=False):
    """An Estimate of fine-tuning on so many tokens, or with `words`, of learning masked words."""
    work = block_work(config.width, config.depth)
    if words:
        work += 2 * 0.15 * config.width * config.vocab_size
    seconds = settings.epochs * tokens * 3 * work / (TEACHER_RATE * worker_count())
    shapes = {key: shape for key, (_, shape) in tensor_names(config).items()}
    if words:
        shapes["mlm.bias"] = (config.vocab_size,)
    empty = {key: np.broadcast_to(np.float32(0), shape) for key, shape in shapes.items()}
    memory = training_bytes(empty, config, settings, worker_count(), longest)
    return Estimate(seconds, bert_bytes(config), memory)


def caching(config, cache, tokens, sentences):
    """An Estimate of reading so many tokens, whose hidden states are kept by a CacheSettings."""
    share = min(1.0, (cache.hidden_sentences or sentences) / sentences)
    seconds = tokens * block_work(config.width, config.depth) / (TEACHER_RATE * worker_count())
    hidden = share * token_bytes(config.width, len(cache.layers), cache.dtype)
    disk = tokens * (4 + hidden) + 2 * config.vocab_size * config.width
    return Estimate(seconds, disk, PYTHON_BYTES + 2 * bert_bytes(config))


def student_training(config, settings, tokens):
    """An Estimate of training a student, or a convolutional baseline, on so many tokens.

    Of memory: a step (`memory.py`), or a reading of dev by all workers; beside them the weights of
    the best epoch and the teacher's words.
    """
    steps, width = getattr(config, "steps", 1), getattr(config, "width", config.embedding_width)
    if blocks := getattr(config, "blocks", 0):
        work = block_work(width, blocks)
    else:
        work = 2 * sum(config.kernel_widths) * width * config.filters
    weights = 4 * config.vocab_size * config.embedding_width
    workers, batch = step_workers(), settings.batch_tokens
    taps = bool(settings.w_feat)
    step = step_bytes(config, batch, taps=taps, workers=workers)
    reading = 3 * weights + workers * kept_bytes(config, READING_TOKENS, taps=False)
    # Two workers are 1.8 times as fast as one where the student is wide, 1.5 times where narrow.
    rate = STUDENT_RATE * (1.6 if workers > 1 else 1.0)
    return Estimate(
        settings.epochs * tokens * 3 * steps * work / rate,
        weights,
        PYTHON_BYTES + 2 * weights + max(step, reading),
    )
