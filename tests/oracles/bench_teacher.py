"""What a teacher costs: tokens a second in training and in reading, and peak memory.

    python tests/oracles/bench_teacher.py --data data/sst2                      MiniLM
    python tests/oracles/bench_teacher.py --data data/sst2 --random-base        768 wide, 12 blocks
    python tests/oracles/bench_teacher.py --data data/sst2 --torch              beside transformers

With --torch both take the same batches by turns, forward, backward and AdamW, so that what else the
machine does meets both alike: compare the ratio, never a time with one of another run. transformers
gets a batch as its own collator makes it, padded to the longest sentence, with as many threads as
there are cores here. Peak memory is this process' alone, so ask for it without --torch.
"""

import argparse
import resource
import tempfile
from dataclasses import replace
from pathlib import Path
from time import perf_counter, process_time

import numpy as np

from spikebert_np.data.batches import batch_indices, make_batch
from spikebert_np.data.corpus import Corpus, slice_corpus
from spikebert_np.data.pretrained import resolve_teacher
from spikebert_np.data.readers import read_corpus
from spikebert_np.data.tokenizer import encode_texts, load_tokenizer
from spikebert_np.models.bert import BertConfig
from spikebert_np.models.bert_checkpoint import (
    load_bert,
    tensor_names,
    write_bert_config,
    write_bert_tensors,
)
from spikebert_np.training.finetune_teacher import (
    TeacherSettings,
    new_classifier,
    teacher_gradients,
)
from spikebert_np.training.frozen_teacher import read_sentences
from spikebert_np.training.optim import adamw_init, adamw_step, clip_gradients
from spikebert_np.training.teacher_loop import training_bytes
from spikebert_np.training.workers import worker_count, workers

BASE = BertConfig(30522, 768, 12, 12, 3072, 512, 2, 1e-12)


def random_base():
    """(config, params) of BERT-base's sizes: what it costs does not depend on what it knows."""
    rng = np.random.default_rng(0)
    params = {
        key: np.full(shape, key.endswith("gain"), np.float32)
        if len(shape) == 1
        else 0.02 * rng.standard_normal(shape, np.float32)
        for key, (_, shape) in tensor_names(BASE).items()
    }
    return BASE, params


def torch_step(folder, threads):
    """A function of a Batch: a step of transformers' model in `folder`, as its Trainer does it."""
    import torch
    import transformers

    torch.set_num_threads(threads)
    model = transformers.BertForSequenceClassification.from_pretrained(folder).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)

    def step(batch):
        lengths = torch.from_numpy(np.diff(batch.offsets))
        mask = torch.arange(int(lengths.max())) < lengths[:, None]
        ids = torch.zeros(mask.shape, dtype=torch.long)
        ids[mask] = torch.from_numpy(batch.ids).long()
        labels = torch.from_numpy(batch.labels)
        loss = model(ids, attention_mask=mask.long(), labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return float(loss.detach())

    return step


def clocks():
    """(seconds, seconds of all cores): what else the machine does stretches the first alone."""
    return np.array([perf_counter(), process_time()])


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="a labelled corpus")
    parser.add_argument("--teacher", default="minilm")
    parser.add_argument("--random-base", action="store_true", help="BERT-base's sizes, random")
    parser.add_argument("--torch", action="store_true", help="beside transformers and torch")
    parser.add_argument("--batches", type=int, default=20)
    args = parser.parse_args()
    source = resolve_teacher(args.teacher)
    config, params = random_base() if args.random_base else load_bert(source)
    settings, count = TeacherSettings(), worker_count()
    split = read_corpus(args.data)["train"]
    ids, offsets, _ = encode_texts(load_tokenizer(source), split.texts)
    config, params = new_classifier(params, config, int(split.labels.max()) + 1, settings)
    config = replace(config, dropout=0.1, attention_dropout=0.1)
    batches = batch_indices(
        offsets, max_tokens=settings.batch_tokens, rng=np.random.default_rng(0)
    )[: args.batches + 2]
    batches = [make_batch(ids, offsets, split.labels, index) for index in batches]
    stated = training_bytes(params, config, settings, count, int(np.diff(offsets).max())) / 1e6
    print(f"{config.depth} blocks, {config.width} wide, {count} workers; stated {stated:,.0f} MB")

    their_step = None
    if args.torch:
        with tempfile.TemporaryDirectory() as folder:
            write_bert_config(Path(folder) / "config.json", config)
            write_bert_tensors(Path(folder) / "model.safetensors", params, config)
            their_step = torch_step(folder, count)
    state, ours, theirs = adamw_init(params), [], []
    for number, batch in enumerate(batches):
        # Each side's threads are set up for it alone, outside its time.
        with workers(count) as run:
            started = clocks()
            _, _, grads = teacher_gradients(params, config, batch, run, count, seed=[number])
            clip_gradients(grads, 1.0, run=run)
            state = adamw_step(params, grads, state, learning_rate=1e-5, backend="numba", run=run)
            del grads
            ours.append(clocks() - started)
        if their_step:
            started = clocks()
            their_step(batch)
            theirs.append(clocks() - started)
    # The first two batches compile and warm up.
    tokens = sum(len(batch.ids) for batch in batches[2:])
    padded = sum(len(b.labels) * np.diff(b.offsets).max() for b in batches[2:])
    ours, theirs = np.array(ours[2:]), np.array(theirs[2:])  # (batches, 2)
    wall, cores = tokens / ours.sum(axis=0)
    print(
        f"training: {wall:,.0f} tokens/s, {cores:,.0f} a second of one core, in {tokens:,} tokens"
    )
    if len(theirs):
        wall, cores = tokens / theirs.sum(axis=0)
        ratios = theirs / ours
        print(
            f"transformers: {wall:,.0f} tokens/s, {cores:,.0f} a second of one core; with its "
            f"padding it has {padded / tokens:.2f} times the tokens\n"
            f"theirs over ours: time {theirs[:, 0].sum() / ours[:, 0].sum():.2f} (by batch "
            f"{ratios[:, 0].min():.2f} to {ratios[:, 0].max():.2f}), cores' seconds "
            f"{theirs[:, 1].sum() / ours[:, 1].sum():.2f}"
        )
        return
    training_peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    corpus = slice_corpus(Corpus(ids, offsets), 0, min(100, len(offsets) - 1))
    with workers(count) as run:
        started = perf_counter()
        read_sentences(corpus.ids, corpus.offsets, params, config, [], run=run)
        speed = corpus.offsets[-1] / (perf_counter() - started)
    print(f"reading: {speed:,.0f} tokens/s; peak memory of all this: {training_peak:,.0f} MB")


if __name__ == "__main__":
    main()
