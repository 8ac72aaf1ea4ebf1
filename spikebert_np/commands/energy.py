"""`spikebert energy`: theoretical energy by three rules, and what a CPU keeps of the saving."""

import argparse
import json
import sys
from pathlib import Path
from typing import NamedTuple

from ..errors import InputError
from .options import at_least

_BATCHES = (32, 1)  # sentences that are measured at once
_UNITS = {  # of a Meter, and of the clock: how many in one, in which they are printed
    "joules": ("mJ", 1e3),
    "instructions": ("million instructions", 1e-6),
    "cpu_seconds": ("CPU ms", 1e3),
}


class Network(NamedTuple):
    label: str
    config: object
    params: dict
    encoded: tuple  # its Encoded sentences
    layers: list  # of LayerCount
    accuracy: float | None  # None where nothing can be scored
    firing_rate: float | None = None  # None for a teacher


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
        "--split", choices=["train", "dev", "test"], help="default: dev, or the only one"
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
    from ..data.shipped import shipped_student

    if args.plot and args.plot.suffix not in (".png", ".svg", ".pdf"):
        raise InputError(f"--plot {args.plot}: end it in .png, .svg or .pdf")
    texts, labels = _open_split(args.data, args.split)
    teacher = _read_teacher(args.against, texts, labels)
    student, *others = (
        _read_student(folder, texts, labels) for folder in args.runs or [shipped_student()]
    )
    networks = [student, *([teacher] if teacher else []), *others]
    dense = without_spikes(student.layers)

    print(f"{args.data}: {len(texts)} sentences, {_tokens(student):.1f} tokens each")
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


def _tokens(network):
    """Of a sentence, on average."""
    return network.encoded.offsets[-1] / (len(network.encoded.offsets) - 1)


def _open_split(data, name):
    """(texts, labels or None) of a split of a corpus."""
    from ..data.shipped import open_corpus

    splits = open_corpus(data)
    name = name or ("dev" if "dev" in splits else next(iter(splits)))
    if name not in splits:
        raise InputError(f"{data}: has no {name} split, only {', '.join(splits)}")
    return splits[name]


def _read_student(folder, texts, labels):
    """The Network of a run folder."""
    from ..data.tokenizer import encode_texts, load_tokenizer
    from ..models.kinds import kind_of
    from ..training.checkpoint import load_run
    from ..training.inference import count_corpus

    run = load_run(folder)
    config = run.config
    if not (kind := kind_of(config)).spikes:
        raise InputError(f"{folder}: is a {kind.name}, which has no spikes to count")
    tokenizer = load_tokenizer(run.directory / "tokenizer.json")
    encoded = encode_texts(tokenizer, texts, max_tokens=config.max_tokens)
    counts = count_corpus(run.params, config, encoded.ids, encoded.offsets)
    depth = f", {config.blocks} blocks" if kind.name == "spikebert" else ""
    return Network(
        f"{'/'.join(folder.parts[-2:])} (T = {config.steps}{depth}, {config.width} wide)",
        config,
        run.params,
        encoded,
        counts.layers,
        _accuracy(counts.logits, labels),
        counts.firing_rate,
    )


def _read_teacher(name, texts, labels):
    """The Network of a teacher; None where none was asked for and MiniLM is not there."""
    from ..analysis.operations import count_bert
    from ..data.pretrained import resolve_teacher
    from ..data.tokenizer import encode_texts
    from ..training.frozen_teacher import read_sentences
    from .teacher_cache import load_teacher, public_name

    try:
        folder = resolve_teacher(name or "minilm")
    except InputError as error:
        if name:
            raise
        print(f"without a teacher: {error}", file=sys.stderr)
        return None
    config, params, tokenizer = load_teacher(folder)
    encoded = encode_texts(tokenizer, texts, max_tokens=config.max_positions)
    layers = count_bert(
        encoded.offsets,
        depth=config.depth,
        width=config.width,
        mlp_width=config.mlp_width,
        classes=config.classes,
    )
    accuracy = None
    if config.classes:
        _, values = read_sentences(encoded.ids, encoded.offsets, params, config, [])
        accuracy = _accuracy(values["logits"], labels)
    label = f"{public_name(name or 'minilm', folder)} (BERT, {config.depth} blocks, "
    return Network(f"{label}{config.width} wide)", config, params, encoded, layers, accuracy)


def _accuracy(logits, labels):
    """None without labels, or where they are of other classes."""
    from ..training.inference import accuracy

    if labels is None or labels.max() >= logits.shape[1]:
        return None
    return accuracy(logits, labels)


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
    name, factor = _UNITS[unit]
    print(f"\nmeasured on this CPU, one thread, by turns, medians: {name} a sentence")
    if not meter:
        print("(no RAPL that may be read, and no counter of instructions: time stands for energy)")
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

    savings = (f"{1 / found['share_of_teacher'][rule]:.1f} ({RULES[rule]})" for rule in RULES)
    print(f"\ntheoretical saving against the teacher, times: {', '.join(savings)}")
    for batch, spent in zip(_BATCHES, measured.values(), strict=True):
        events, dense, one = (
            spent["teacher"][unit] / spent[side][unit] for side in ("events", "dense", "one_step")
        )
        part = events * found["share_of_teacher"]["literature"]
        print(
            f"kept on this CPU in batches of {batch}: {events:.1f} times, {part:.0%} of the "
            f"literature's; dense {dense:.1f}, dense in one step {one:.1f}"
        )
