"""What `spikebert teacher finetune` and `spikebert teacher train` share: the folder that a run
works in, and the run itself."""

import json
import os

from ..errors import InputError


def refuse_taken(out):
    """Raises InputError where --out is taken."""
    if os.path.lexists(out):
        raise InputError(f"{out}: exists already; name another --out, or delete it first")


def open_folder(out, about, prepare):
    """The hidden folder that the run works in: a new one, or that of the same run stopped before.

    about: what makes it the same run, a dict of plain numbers and strings. prepare: called with a
    new folder, to write what does not change. Returns the folder and the number of workers, which
    stays that of the run's start: another one would add up in another order.
    Raises InputError where the folder belongs to another run, or cannot be made.
    """
    from ..training.resume import write_atomically
    from ..training.workers import worker_count

    folder = out.with_name(f".{out.name}.partial")
    record = folder / "settings.json"
    if record.exists():
        before = json.loads(record.read_text(encoding="utf-8"))
        for key, value in about.items():
            if before.get(key) != value:
                raise InputError(
                    f"{folder}: holds a run that was stopped, with {key} {before.get(key)} where "
                    f"this one has {value}; give its settings again to go on, or delete it"
                )
        print(f"{folder}: going on with the run that was stopped", flush=True)
        return folder, before["workers"]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{folder.parent}: cannot be written ({error.strerror}); give another --out"
        ) from error
    prepare(folder)
    about = about | {"workers": worker_count()}
    text = json.dumps(about, indent=2) + "\n"
    write_atomically(record, lambda path: path.write_text(text, "utf-8"))
    return folder, about["workers"]


def train_into(out, folder, params, config, settings, corpus, *, json_line, quiet, **how):
    """Train in `folder`, and move it to `out` when it is whole.

    json_line: print the best epoch's record as one line of JSON last. quiet: no progress bar.
    how: `gradients`, `measure`, `scales` and `run` of train_teacher.
    """
    from ..models.bert_checkpoint import write_bert_tensors
    from ..training.resume import write_atomically
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
    os.rename(folder, out)
    (out / "checkpoint.npz").unlink()
    best = max(records, key=lambda record: record["dev_accuracy"])
    print(f"{out}: written, epoch {best['epoch']} with dev accuracy {best['dev_accuracy']:.4f}")
    if json_line:
        about = {"teacher": str(out), "epochs": len(records), "seed": settings.seed}
        seconds = sum(record["seconds"] for record in records)
        print(json.dumps(best | about | {"seconds": seconds}))
