"""What `spikebert teacher finetune` and `spikebert teacher train` share: the folder that a run
works in, and the run itself."""

import json
import os
from contextlib import contextmanager

RECORD = "settings.json"


@contextmanager
def open_folder(out, about, prepare):
    """`with open_folder(...) as (folder, workers):`, the hidden folder that the run works in.

    about: what makes it the same run, a dict of plain numbers and strings. prepare: called with a
    new folder, to write what does not change. The number of workers stays that of the run's start:
    another one would add up in another order. Raises InputError as `work_folder` does.
    """
    from ..data.work_folder import work_folder
    from ..training.workers import worker_count

    count = worker_count()

    def begin(folder):
        prepare(folder)
        return {"workers": count}

    with work_folder(out, RECORD, about, begin) as (folder, before):
        if before:
            print(f"{folder}: going on with the run that was stopped", flush=True)
            count = before["workers"]
        yield folder, count


def train_into(out, folder, params, config, settings, corpus, *, json_line, quiet, **how):
    """Train in `folder`, and move it to `out` when it is whole.

    json_line: print the best epoch's record as one line of JSON last. quiet: no progress bar.
    how: `gradients`, `measure`, `scales` and `run` of train_teacher.
    """
    from ..files import refuse_taken, write_atomically
    from ..models.bert_checkpoint import write_bert_tensors
    from ..training.teacher_loop import train_teacher

    def keep_best():
        write_atomically(
            folder / "model.safetensors", lambda path: write_bert_tensors(path, params, config)
        )

    def log(records):
        text = "".join(json.dumps(record) + "\n" for record in records)
        write_atomically(folder / "metrics.jsonl", lambda path: path.write_text(text, "utf-8"))
        record = records[-1]
        print(
            f"epoch {record['epoch']}: loss {record['loss']:.4f}  "
            f"train {record['train_accuracy']:.4f}  dev {record['dev_accuracy']:.4f}  "
            f"{record['seconds']:.0f} s, {record['tokens_per_second']:,.0f} tokens/s",
            flush=True,
        )

    records = train_teacher(
        params,
        settings,
        corpus,
        folder=folder,
        keep_best=keep_best,
        log=log,
        quiet=quiet,
        **how,
    )
    refuse_taken(out)
    os.rename(folder, out)
    (out / "checkpoint.npz").unlink()
    best = max(records, key=lambda record: record["dev_accuracy"])
    print(f"{out}: written, epoch {best['epoch']} with dev accuracy {best['dev_accuracy']:.4f}")
    if json_line:
        about = {"teacher": str(out), "epochs": len(records), "seed": settings.seed}
        seconds = sum(record["seconds"] for record in records)
        print(json.dumps(best | about | {"seconds": seconds}))
