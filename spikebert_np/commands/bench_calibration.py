"""`spikebert bench --calibrate`: up to which share of spikes this machine's products by events are
faster than dense ones."""

import json


def run_calibration(args, versions):
    """Measure, print the table and what to set."""
    from tqdm import tqdm

    from ..benchmarks import calibration
    from ..process import events_up_to

    now = events_up_to()
    sides = sum(4 * len(calibration.products(width)) for width in calibration.WIDTHS)
    total = sides * len(calibration.DENSITIES) * (args.rounds + 1)
    with tqdm(total=total, desc="measuring", disable=None, leave=False) as bar:
        rows = calibration.calibrate(args.rounds, bar.update)
    for line in calibration_lines(rows):
        print(line)
    values = {row.width: round(row.crossing, 2) for row in rows if row.product == "a block"
              and row.part == "both"}  # fmt: skip
    print()
    for width, value in values.items():
        print(f"for a student of D {width}:  export SPIKEBERT_EVENTS_UP_TO={value:g}")
    print(
        f"\nNow it is {now:g}, and nothing has been changed. The two ways round differently: with "
        "another value the same seed trains another student, by a little. Set it before a run "
        "begins, keep it where the run goes on, and name it beside the run's results."
    )
    if args.json:
        crossings = {f"d{width}": value for width, value in values.items()}
        table = [row._asdict() for row in rows]
        print(json.dumps({"events_up_to": crossings, "now": now, "rows": table,
                          "versions": versions}))  # fmt: skip


def calibration_lines(rows):
    """The table's lines."""
    from ..benchmarks.calibration import DENSITIES, ROWS

    yield (
        "time by events / time of the dense product, in core-seconds: below 1, events are faster\n"
        f"one thread, float32, {ROWS:,} rows of random spikes; a block: all of its products on "
        "spikes\n"
    )
    heads = "".join(f"{density:7.0%}" for density in DENSITIES)
    yield f"{'D':>4}  {'product':12} {'part':8}{heads}   equal at"
    for row in rows:
        ratios = "".join(f"{value:7.2f}" for value in row.ratios)
        equal = "" if row.crossing is None else _equal(row.crossing, DENSITIES[-1])
        yield f"{row.width:4}  {row.product:12} {row.part:8}{ratios}   {equal}".rstrip()


def _equal(share, last):
    if share == 0:
        return "never"
    return f"above {last:.0%}" if share == last else f"{share:.1%}"
