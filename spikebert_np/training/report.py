"""report.md: a run for a reader."""

from ..models.kinds import kind_of

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


def run_report(out, stage, config, settings, tables, records):
    """The text of report.md for the run that is to be found at `out`."""
    title = {"pretrain": "Stage 1: general distillation", "finetune": "Stage 2: the task"}[stage]
    lines = [f"# {title}", ""]
    shape = {name: getattr(config, name) for name in _SHAPE if hasattr(config, name)}
    shape |= {"seed": settings.seed}
    about = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in shape.items())
    lines.append(f"{kind_of(config).name}: {about}. Everything else stands in config.toml.")
    for name, value in tables.get("data", {}).items():
        lines.append(f"- {name}: {value}")
    lines += ["", markdown_table(records) if records else "No epoch was trained.", ""]
    scored = [record for record in records if "dev_accuracy" in record]
    if scored:
        best = max(scored, key=lambda record: record["dev_accuracy"])
        lines += [
            f"Kept: epoch {best['epoch']}, dev accuracy {best['dev_accuracy']:.4f}, the best of "
            f"{len(scored)}. It was selected on dev, so dev flatters it.",
            "",
        ]
    if stage == "pretrain":
        lines += [f"Next: `spikebert finetune --init {out} --out RUN`", ""]
    else:
        lines += [
            "```",
            f"spikebert evaluate {out} --data FILE --json",
            f'spikebert predict --run {out} "a sentence of your own"',
            "```",
            "",
        ]
    return "\n".join(lines)
