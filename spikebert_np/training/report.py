"""report.md: a run for a reader, and the figures beside it."""

import html
import shlex

import numpy as np

from ..analysis.answers import BINS, calibration, confusion_counts, hardest
from ..data.tokenizer import load_tokenizer
from ..files import write_atomically
from ..layers.losses import log_softmax
from ..models.kinds import kind_of
from .checkups import EVERY, say
from .inference import accuracy, predict_logits
from .step import step_workers
from .workers import workers

_SHAPE = ("blocks", "width", "kernel_widths", "filters", "steps")
_COLUMNS = {
    "epoch": "{:d}",
    "loss": "{:.4f}",
    "ce": "{:.4f}",
    "kl": "{:.4f}",
    "feat": "{:.4f}",
    "emb": "{:.4f}",
    "rate": "{:.4f}",
    "train_accuracy": "{:.3f}",
    "dev_accuracy": "{:.3f}",
    "firing_rate": "{:.3f}",
    "seconds": "{:.0f}",
}
FEWEST_STEPS = 50  # of a run with figures: a shorter one takes less time than to draw it
_HARDEST = 10  # sentences that the report shows
_LETTERS = 300  # of a sentence


def markdown_lines(columns, rows):
    """The lines of a table; rows: lists of cells."""
    yield "| " + " | ".join(columns) + " |"
    yield "|" + "---|" * len(columns)
    for cells in rows:
        yield "| " + " | ".join(cells) + " |"


def markdown_table(records):
    """One row a record, with those of the known columns that occur."""
    columns = [name for name in _COLUMNS if name in records[0]]
    rows = ([_COLUMNS[name].format(record[name]) for name in columns] for record in records)
    return "\n".join(markdown_lines(columns, rows))


def write_report(out, stage, cache, dev, params, config, settings, tables, records, checkups):
    """Write report.md and its figures into the run folder `out`.

    dev: its Corpus, or None. params: those kept. records: the lines of metrics.jsonl. checkups: the
    run's Checkups, or None. A run of fewer than FEWEST_STEPS has no figures.
    A part that fails is left out, and said: no report is worth a trained student.
    """
    drawn = bool(records) and records[-1]["step"] >= FEWEST_STEPS
    parts = [
        lambda: _training_lines(out, stage, config, settings, tables, records, drawn),
        lambda: _dev_lines(out, cache, dev, params, config, drawn),
        lambda: _health_lines(out, checkups, drawn),
        lambda: _command_lines(out, stage),
    ]
    lines = []
    for part in parts:
        try:
            lines += part()
        except Exception as error:
            warning = f"a part of report.md could not be written: {error!r}"
            say(warning)
            lines += [f"({warning})", ""]
    try:
        write_atomically(out / "report.md", lambda path: path.write_text("\n".join(lines), "utf-8"))
    except OSError as error:
        say(f"{out / 'report.md'} could not be written: {error.strerror}")


def _training_lines(folder, stage, config, settings, tables, records, drawn):
    title = {"pretrain": "Stage 1: general distillation", "finetune": "Stage 2: the task"}[stage]
    lines = [f"# {title}", ""]
    shape = {name: getattr(config, name) for name in _SHAPE if hasattr(config, name)}
    shape |= {"seed": settings.seed}
    about = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in shape.items())
    lines.append(f"{kind_of(config).name}: {about}. Everything else stands in config.toml.")
    for name, value in tables.get("data", {}).items():
        for entry in value if isinstance(value, list) else [value]:
            if entry != "":
                lines.append(f"- {name.replace('_', ' ')}: {_escaped(str(entry))}")
    lines += ["", markdown_table(records) if records else "No epoch was trained.", ""]
    scored = [record for record in records if "dev_accuracy" in record]
    if scored:
        best = max(scored, key=lambda record: record["dev_accuracy"])
        lines += [
            f"Kept: epoch {best['epoch']}, dev accuracy {best['dev_accuracy']:.4f}, the best of "
            f"{len(scored)}. It was selected on dev, so dev flatters it.",
            "",
        ]
    if drawn and len(records) > 1:
        from ..analysis.report_plots import plot_curves

        weights = {
            name: getattr(settings, f"w_{name}") for name in ("ce", "kl", "feat", "emb", "rate")
        }
        plot_curves(records, weights, folder / "curves.png")
        lines += ["![losses and accuracy by epoch](curves.png)", ""]
    return lines


def _dev_lines(folder, cache, dev, params, config, drawn):
    """What the kept student answers on dev."""
    if dev is None:
        return []
    with workers(step_workers()) as run:
        logits = predict_logits(params, config, dev.ids, dev.offsets, run=run)  # (S, C)
    probabilities, answers = np.exp(log_softmax(logits)), logits.argmax(axis=1)
    counts = confusion_counts(answers, dev.labels, config.classes)  # (C, C)
    classes = [str(i) for i in range(config.classes)]
    rows = [
        [f"**{i}**", *map(str, row), f"{row[i] / row.sum():.3f}" if row.sum() else ""]
        for i, row in enumerate(counts)
    ]
    lines = [f"## On dev, {len(dev.labels)} sentences", ""]
    lines += [*markdown_lines(["label, answered:", *classes, "right"], rows), ""]
    found = calibration(probabilities, dev.labels)
    lines += [
        f"Calibration: its mean confidence is {probabilities.max(axis=1).mean():.3f}, and "
        f"{accuracy(logits, dev.labels):.3f} of its answers are right. Expected calibration error "
        f"{found.error:.3f}: the mean gap between the two in {BINS} bins of confidence.",
        "",
    ]
    if drawn:
        from ..analysis.report_plots import plot_calibration

        plot_calibration(found, folder / "calibration.png")
        lines += ["![right by confidence](calibration.png)", ""]
    teacher = None if dev.logits is None else dev.logits.argmax(axis=1)  # (S,)
    if teacher is not None:
        lines += [
            f"The teacher gives the same answer on {(teacher == answers).mean():.3f} of these "
            f"sentences, and is right on {accuracy(dev.logits, dev.labels):.3f}.",
            "",
        ]
    tokenizer, rows = load_tokenizer(cache.tokenizer), []
    for i in hardest(probabilities, dev.labels, _HARDEST):
        ids = dev.ids[dev.offsets[i] : dev.offsets[i + 1]]
        says = [dev.labels[i], answers[i], *([] if teacher is None else [teacher[i]])]
        probability = f"{probabilities[i, dev.labels[i]]:.3f}"
        rows.append([*map(str, says), probability, _cell(tokenizer.decode(ids.tolist()))])
    columns = ["label", "answered", *([] if teacher is None else ["teacher"])]
    columns += ["the label's probability", "sentence, as the tokenizer reads it"]
    return [*lines, "The hardest:", "", *markdown_lines(columns, rows), ""]


def _cell(text):
    """A sentence that leaves the table whole, whatever stands in it."""
    return _escaped(text[:_LETTERS] + " ..." if len(text) > _LETTERS else text)


def _escaped(text):
    """Text that Markdown reads as it is, in one line."""
    for letter in "\\`*_[]|~$":
        text = text.replace(letter, "\\" + letter)
    return html.escape(" ".join(text.split()), quote=False)


def _health_lines(folder, checkups, drawn):
    if not checkups or not checkups.records:
        return []
    lines = ["## Health", ""]
    if drawn:
        from ..analysis.report_plots import plot_health

        plot_health(checkups.records, folder / "health.png")
        lines += ["![firing, membranes and gradients](health.png)", ""]
    warnings = [f"- {warning}" for warning in checkups.warnings]
    return [*lines, *(warnings or [f"Every {EVERY}th step was looked at: nothing to warn of."]), ""]


def _command_lines(out, stage):
    """What repeats the run, and what to do with it."""
    run = shlex.quote(str(out))
    lines = [f"spikebert {stage} --config {run}/config.toml --out AGAIN"]
    if stage == "pretrain":
        lines.append(f"spikebert finetune --init {run} --out RUN")
    else:
        lines.append(f"spikebert evaluate {run} --data FILE --json")
        lines.append(f'spikebert predict --run {run} "a sentence of your own"')
    return ["## Again, and next", "", "```sh", *lines, "```", ""]
