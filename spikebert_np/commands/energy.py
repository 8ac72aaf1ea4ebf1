"""`spikebert energy`: theoretical energy by three rules, and what a CPU keeps of the saving."""

import argparse
import json
import sys
from pathlib import Path

from ..errors import InputError
from ..files import refuse_unwritable
from .options import at_least

_BATCHES = (32, 1)  # sentences that are measured at once
# Of a Meter, and of the clock: what is printed, how many of it are in one, what is to be known.
_UNITS = {
    "joules": ("mJ", 1e3, "by RAPL: whatever else the processor does meanwhile is in it"),
    "instructions": ("million instructions", 1e-6, "no RAPL that may be read; in user mode"),
    "cpu_seconds": ("CPU ms", 1e3, "no RAPL that may be read, no counter of instructions"),
}


def register(commands):
    """Add `energy`."""
    energy = commands.add_parser(
        "energy",
        help="theoretical energy of a student by three rules, beside its teacher's",
        description="Counts the spikes of a student on real sentences and prices what they make "
        "each layer do, by three rules: the literature's (every spike is an accumulate), a strict "
        "one (the residual's integers are multiplied) and one with memory (each weight that is "
        "used is read). Beside it stand the teacher and the same network without spikes, dense and "
        "in one step. None of the rules measures hardware: the figures are theoretical. --measure "
        "measures this machine: joules where it has RAPL and lets you read it, else instructions "
        "where they can be counted, and CPU seconds always; on one thread.",
        epilog="examples:\n"
        "  spikebert energy                               (the shipped student)\n"
        "  spikebert energy runs/sst2 --data data/stsa --against teachers/sst2 --measure\n"
        "  spikebert energy runs/t1 runs/t2 runs/t4 --data data/stsa --plot trade-off.png",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    energy.add_argument(
        "runs",
        metavar="RUN",
        nargs="*",
        type=Path,
        help="run folders; the first is taken apart and measured, the others stand beside it "
        "(default: the student for SST-2 that travels with the package)",
    )
    energy.add_argument(
        "--data", metavar="PATH", default="toy_reviews", help="the corpus (default: toy_reviews)"
    )
    energy.add_argument(
        "--split", choices=["train", "dev", "test"], help="default: dev, or else the first"
    )
    energy.add_argument(
        "--against",
        metavar="TEACHER",
        help="a directory or a name; with a classifier it is scored too (default: minilm, where "
        "`spikebert teacher get` has fetched it)",
    )
    energy.add_argument(
        "--plot", metavar="FILE", type=Path, help="accuracy against energy: .png, .svg or .pdf"
    )
    energy.add_argument("--measure", action="store_true", help="also measure this machine")
    energy.add_argument(
        "--rounds",
        metavar="N",
        type=at_least(1),
        default=15,
        help="of --measure, each of which all take by turns (default: 15)",
    )
    energy.add_argument("--json", action="store_true", help="print one line of JSON last")
    energy.set_defaults(run=run_energy)


def run_energy(args):
    """Count, price, print; draw and measure where asked to."""
    from ..analysis.energy import millijoules
    from ..analysis.energy_table import comparison_table, layer_table, left_out, shares_of
    from ..analysis.operations import without_spikes
    from ..data.pretrained import resolve_teacher
    from .energy_networks import read_student, read_teacher

    if args.against:
        resolve_teacher(args.against)  # refused before the student reads all sentences
    if args.plot:
        refuse_unwritable("--plot", args.plot, (".png", ".svg", ".pdf"))
    texts, labels = _open_split(args.data, args.split)
    student, *others = (read_student(folder, texts, labels) for folder in args.runs or [None])
    longest = student.config.max_tokens  # neither pays for words that the other does not read
    teacher = read_teacher(args.against, texts, labels, max_tokens=longest)
    networks = [student, *([teacher] if teacher else []), *others]
    dense = without_spikes(student.layers)

    print(f"{args.data}: {_size(student.encoded)}")
    for network in networks:
        fire = "" if network is teacher else f", {network.firing_rate:.1%} of its neurons fire"
        right = "" if network.accuracy is None else f", accuracy {network.accuracy:.4f}"
        print(f"  {network.label}{fire}{right}")
    beside = {"the same without spikes": dense}
    beside |= {network.label: network.layers for network in networks[1:]}
    print(f"\n{layer_table(student.layers)}\n\n{comparison_table(student.layers, beside)}")
    print(f"\n{left_out(student.layers)}")
    own = millijoules(student.layers)
    found = {**own, "n": len(texts), "without_spikes": millijoules(dense)}
    found["share_of_without_spikes"] = shares_of(own, found["without_spikes"])
    if teacher:
        found["teacher"] = millijoules(teacher.layers)
        found["share_of_teacher"] = shares_of(own, found["teacher"])
    found["networks"] = [
        {
            "label": network.label,
            "teacher": network is teacher,
            "accuracy": network.accuracy,
            **millijoules(network.layers),
        }
        for network in networks
    ]
    if args.plot:
        from ..analysis.energy_plot import plot_energy

        plot_energy(found["networks"], args.plot, title=f"{args.data}: {len(texts)} sentences")
        print(f"\nwritten: {args.plot}")
    if args.measure:
        found["measured"] = _measure(student, teacher, found, args.rounds)
    if args.json:
        print(json.dumps(found))


def _size(encoded):
    """What was read, in words."""
    count = len(encoded.offsets) - 1
    tokens = encoded.offsets[-1] / count
    return f"{count} sentences, {tokens:.1f} tokens each, {encoded.truncated} cut short"


def _open_split(data, name):
    """(texts, labels or None) of a split of a corpus."""
    from ..data.shipped import open_corpus

    splits = open_corpus(data)
    name = name or ("dev" if "dev" in splits else next(iter(splits)))
    if name not in splits:
        raise InputError(f"{data}: has no {name} split, only {', '.join(splits)}")
    return splits[name]


def _measure(student, teacher, found, rounds):
    """{batch: what `measure_energy` gave}; prints it, and how much of each saving is kept."""
    from ..benchmarks.energy import SIDES, measure_energy, measured_unit
    from ..benchmarks.joules import find_meter

    meter, measured = find_meter(), {}
    for sentences in _BATCHES:
        print(f"measuring, in batches of {sentences} ...", file=sys.stderr, flush=True)
        more = rounds if sentences > 1 else 5 * rounds  # a single sentence is short work
        spent = measure_energy(student, teacher, meter, sentences=sentences, rounds=more)
        measured[f"batch{sentences}"] = spent
    unit = measured_unit(spent)
    name, factor, note = _UNITS[unit]
    print(f"\nmeasured on this CPU, one thread, by turns, medians: {name} a sentence ({note})")
    print(f"{'':33}" + "".join(f"{f'batches of {sentences}':>15}" for sentences in _BATCHES))
    for side, label in SIDES.items():
        if side in spent:
            cells = (f"{factor * batch[side][unit]:15.3f}" for batch in measured.values())
            print(f"{label:33}{''.join(cells)}")
    if teacher:
        _print_kept(found, measured, unit)
    return measured | {"unit": unit}


def _print_kept(found, measured, unit):
    """How many times less than the teacher, in theory and here."""
    from ..analysis.energy import RULES
    from ..benchmarks.energy import SIDES

    savings = (f"{1 / found['share_of_teacher'][rule]:.1f} ({RULES[rule]})" for rule in RULES)
    print(f"\nhow many times less than the teacher\n  theoretical: {', '.join(savings)}")
    for batch, spent in zip(_BATCHES, measured.values(), strict=True):
        for teacher in (side for side in ("teacher", "onnxruntime") if side in spent):
            events, dense, one = (
                spent[teacher][unit] / spent[side][unit] for side in ("events", "dense", "one_step")
            )
            kept = events * found["share_of_teacher"]["literature"]
            print(
                f"  here, batches of {batch}, {SIDES[teacher]}: {events:.1f} ({kept:.0%} of the "
                f"literature's); dense {dense:.1f}; dense, T = 1 {one:.1f}"
            )
