"""`spikebert bench`: how fast, against dense matrix products, memory, and other libraries."""

import argparse
import json
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ..errors import InputError
from .options import at_least

# Of the JSON, in which a rival that was not measured stands as null.
KEYS = (
    "step_over_floor", "dense_step_over_floor", "vs_spikingjelly", "vs_snntorch", "epoch_vs_padded",
    "lif_over_bandwidth", "lif_vs_spikingjelly", "lif_vs_snntorch", "inference_vs_dense",
    "inference_vs_dense_batch1", "inference_vs_onnxruntime", "inference_vs_onnxruntime_batch1",
)  # fmt: skip


def register(commands):
    """Add `bench`."""
    bench = commands.add_parser(
        "bench",
        help="measure speed: against dense matrix products, memory, and other libraries",
        description="Measures a training step, the neuron and inference, each against what it is "
        "to be compared with, by turns in one process; prints medians and quartiles of the ratios, "
        "and how often the measured neurons fire.\n\n"
        "  X / Y   how many times as long X takes as Y: below 1, X is faster\n"
        "  X vs Y  how many times as fast X is as Y: above 1, ours is faster\n\n"
        "The dense floor is the time of the fewest matrix products that a dense training step of "
        "the same sizes needs, and of nothing else. Set OPENBLAS_NUM_THREADS to choose the number "
        "of threads; every rival gets as many.",
        epilog="examples:\n"
        "  spikebert bench                             a few minutes\n"
        "  spikebert bench --run runs/sst2 --data data/stsa --against torch --json\n"
        "  spikebert bench --profile                   and where a step's time goes\n"
        "  spikebert bench --scaling results/scaling   a few minutes, instead of the rest\n"
        "  spikebert bench --calibrate                 a minute, instead of the rest",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    bench.add_argument(
        "--run",
        dest="run_folder",
        metavar="RUN",
        type=Path,
        help="this run's student in its shape, and in all comparisons (default: the shipped one in "
        "its shape, one of width 256 in the comparisons); other shapes are of students trained for "
        "a moment on toy_reviews, which then fire about as often",
    )
    bench.add_argument(
        "--data",
        metavar="PATH",
        type=Path,
        help="the corpus whose sentence lengths count (default: toy_reviews)",
    )
    bench.add_argument(
        "--against",
        choices=["torch"],
        help="also the same student in SpikingJelly and snnTorch, and MiniLM in onnxruntime, where "
        "they are installed",
    )
    bench.add_argument(
        "--rounds", metavar="N", type=at_least(1), default=7, help="of each comparison (default: 7)"
    )
    bench.add_argument("--profile", action="store_true", help="where the time of a step goes")
    bench.add_argument(
        "--scaling",
        metavar="OUT",
        type=Path,
        help="instead: a step's time against width, depth, time steps, tokens, firing rate and "
        "threads, and a cache's reading against its corpus, with fitted exponents: "
        "OUT/SCALING.md and OUT/scaling.png",
    )
    bench.add_argument(
        "--calibrate",
        action="store_true",
        help="instead: at which share of spikes this machine's products by events stop being "
        "faster than dense ones, as a value for SPIKEBERT_EVENTS_UP_TO. It is printed and nowhere "
        "kept: the two round differently, so that a machine which chose by itself would train "
        "another student than the next one from the same seed",
    )
    bench.add_argument("--json", action="store_true", help="print one line of JSON last")
    bench.set_defaults(run=run_bench)


def run_bench(args):
    """Measure, then print: the ratios first, and last what they were measured with."""
    if args.scaling or args.calibrate:
        return _run_alone(args)
    from ..benchmarks import suite
    from ..benchmarks.students import read_texts
    from ..data.shipped import TOY
    from ..training.workers import worker_count

    texts = read_texts(args.data or TOY)
    students = _students(args.run_folder or _shipped(), texts)
    missing = _missing(args.against)
    libraries = [name for name in suite.TORCH if name not in missing]
    main, rows = _main(students, args.run_folder), []
    if libraries:
        from ..benchmarks.student_torch import check_rival

        check_rival(main)
    for student in students:
        _tell(f"measuring a training step: {student.name}")
        rows += suite.step_rows(student, args.rounds)
    _tell("measuring the neuron and inference")
    rows += suite.lif_rows(args.rounds, libraries)
    rows += suite.inference_rows(main, args.rounds, None if "onnxruntime" in missing else texts)
    if libraries:
        _tell(f"measuring a training step of {' and '.join(libraries)}")
        rows += suite.rival_rows(main, args.rounds, libraries)
    if "spikingjelly" in libraries:
        _tell("measuring a training step of spikingjelly, padded")
        rows += suite.epoch_rows(main, args.rounds)
    _print_ratios(rows)
    _print_students(students, args.data or TOY)
    if args.profile:
        for student in students:
            _tell(f"measuring the parts of a step: {student.name}")
            _print_profile(student, args.rounds)
    for sentence in dict.fromkeys(missing.values()):
        print(f"\n{sentence}")
    setting = {"threads": worker_count(), "versions": _versions(suite.RIVALS)}
    shown = ", ".join(f"{name} {number}" for name, number in setting["versions"].items())
    print(f"\n{setting['threads']} threads, here and there; {shown}")
    if args.json:
        print(json.dumps({**_medians(rows), "firing_rate": main.rates["all"], **setting}))


def _run_alone(args):
    """--scaling or --calibrate, which measure what they make themselves."""
    alone = "--scaling" if args.scaling else "--calibrate"
    for flag, given in (
        ("--run", args.run_folder),
        ("--data", args.data),
        ("--against", args.against),
        ("--profile", args.profile),
        ("--calibrate", args.scaling and args.calibrate),
    ):
        if given:
            raise InputError(f"{alone} measures what it makes itself: leave {flag} out")
    versions = _versions(())
    if args.scaling:
        from .bench_scaling import run_scaling

        run_scaling(args, versions)
    else:
        from .bench_calibration import run_calibration

        run_calibration(args, versions)


def _shipped():
    """The run folder of the shipped student, or None where the package has none."""
    from ..data.shipped import shipped_student

    return shipped_student() if shipped_student().is_dir() else None


def _students(run_folder, texts):
    """The run's Student, and one of each shape that has none."""
    from ..benchmarks.students import brief_student, run_student, shape_name, toy_offsets
    from ..benchmarks.suite import SHAPES

    students = [run_student(run_folder, texts)] if run_folder else []
    offsets = students[0].offsets if students else toy_offsets(texts)
    for width, blocks in SHAPES:
        if (name := shape_name(width, blocks)) not in [student.name for student in students]:
            _tell(f"training a student first: {name}")
            students.append(brief_student(width, blocks, offsets))
    return students


def _main(students, run_folder):
    """The Student that other libraries and inference are measured with: a given run's, else the one
    of the first of SHAPES."""
    from ..benchmarks.students import shape_name
    from ..benchmarks.suite import SHAPES

    name = students[0].name if run_folder else shape_name(*SHAPES[0])
    return next(student for student in students if student.name == name)


def _missing(against):
    """{rival that will not be measured: a sentence that says why}."""
    from ..benchmarks.suite import RIVALS, is_installed
    from ..data.pretrained import resolve_teacher

    if not against:
        return dict.fromkeys(RIVALS, "Not measured: other libraries (--against torch).")
    missing = {
        name: f"Not measured: {name}; install it by pip install 'spikebert_np[oracles]'."
        for name in RIVALS
        if not is_installed(name)
    }
    try:
        resolve_teacher("minilm")
    except InputError as error:
        missing.setdefault("onnxruntime", f"Not measured: onnxruntime; {error}.")
    return missing


def _tell(what):
    print(f"{what} ...", file=sys.stderr, flush=True)


def _versions(rivals):
    """{package: its version} of what is installed."""
    found = {}
    for name in ("spikebert_np", "numpy", "numba", "torch", *rivals):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _print_ratios(rows):
    wide = max(len(row.label) for row in rows)
    print(f"{'':{wide}}     ratio   quartiles       core-seconds   firing")
    for row in rows:
        ratio = row.ratio
        quartiles = f"{ratio.low:.2f} to {ratio.high:.2f}"
        print(
            f"{row.label:{wide}}  {ratio.median:8.2f}   {quartiles:15} {ratio.cores:8.2f}      "
            f"{row.rate:6.1%}"
        )
    print("\nmedian times")
    for detail in dict.fromkeys(row.detail for row in rows):
        print(f"  {detail}")


def _print_students(students, data):
    print("\nshare of neurons that fire")
    for student in students:
        tokens = student.offsets[-1] / (len(student.offsets) - 1)
        print(f"  {student.name}: {student.origin}; sentences of {data}, {tokens:.1f} tokens each")
        rates = (f"{name} {rate:.1%}" for name, rate in student.rates.items())
        print(f"    {', '.join(rates)}")


def _print_profile(student, rounds):
    from threadpoolctl import threadpool_limits

    from ..benchmarks.profile import profile_step
    from ..benchmarks.students import draw_batches
    from ..benchmarks.training_step import new_step

    step, works = new_step(student), draw_batches(student, rounds)
    with threadpool_limits(limits=1, user_api="blas"):
        step(works[0])
        seconds = profile_step(step, works)
    total = sum(seconds.values())
    print(f"\n{student.name}, core-milliseconds of a step's {1e3 * total:,.0f}")
    print(f"  {'':24}  forward  backward   share")
    parts = {part: 0.0 for part, _ in seconds}
    for (part, _), value in seconds.items():
        parts[part] += value
    for part, whole in sorted(parts.items(), key=lambda item: -item[1]):
        backward = seconds.get((part, "backward"), 0.0)
        forward = whole - backward  # and what has no direction
        print(f"  {part:24} {1e3 * forward:8.1f}  {1e3 * backward:8.1f}  {whole / total:6.1%}")


def _medians(rows):
    """{key: the median ratio, or {shape: ...} of them}, null where there is none; and the same of
    core-seconds."""
    medians, cores = dict.fromkeys(KEYS), dict.fromkeys(KEYS)
    for row in rows:
        for values, value in ((medians, row.ratio.median), (cores, row.ratio.cores)):
            value = round(value, 3)
            values[row.key] = {**(values[row.key] or {}), row.shape: value} if row.shape else value
    return {**medians, "core_seconds": cores}
