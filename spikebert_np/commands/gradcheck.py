"""`spikebert gradcheck`: every hand-written backward pass against finite differences."""

import argparse
import json
import sys

from .options import aligned

# A mutant of a block is differenced and diagnosed in seconds; a right pass, in tenths of one.
MUTANT_SEEDS = 3


def register(commands):
    """Add `gradcheck`."""
    gradcheck = commands.add_parser(
        "gradcheck",
        help="prove the hand-written backward passes by finite differences",
        description="Checks each backward pass of the package on random problems: every input and "
        "every parameter, under a random upstream gradient, in float64, against centred "
        "differences of the forward pass.\n\n"
        "Spiking neurons are checked as their smooth twin (the surrogate's primitive fires in "
        "place of the step; the backward pass is the same code), and a detached reset is held at "
        "its spikes while differencing: finite differences of hard spikes are zero and prove "
        "nothing. What is proved is that the chain rule is coded right.\n\n"
        "The columns of the table:\n"
        "  checks   problems drawn: settings x seeds\n"
        "  arrays   gradients compared\n"
        "  error    the largest max|a - b| / max(max|a|, max|b|) of an array, and its bound\n"
        "  kinks    entries left out, whose difference was taken across a kink\n"
        "  verdict  PASS; FAIL (the report of the array follows); VOID: two arrays of zeros agree, "
        "which proves nothing",
        epilog="examples:\n"
        "  spikebert gradcheck                          everything, once\n"
        "  spikebert gradcheck lif ssa --seeds 5        two of them, on five problems a setting\n"
        "  spikebert gradcheck --dtype float32          rounding: float32 against float64\n"
        "  spikebert gradcheck softmax --mutants        and what wrong passes of it look like\n"
        "  spikebert gradcheck --seeds 20 --json        the long run, ten minutes on two cores",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    gradcheck.add_argument(
        "names",
        metavar="NAME",
        nargs="*",
        help="backward passes without the _backward, such as lif or encoder_block "
        "(default: all; --list names them)",
    )
    gradcheck.add_argument("--list", action="store_true", help="name all cases, and stop")
    gradcheck.add_argument(
        "--backend",
        choices=["numpy", "numba", "events", "all"],
        default="all",
        help="which twin (default: all); what does not have it runs all of its own",
    )
    gradcheck.add_argument(
        "--dtype",
        choices=["float64", "float32"],
        default="float64",
        help="float64: against differences (default). float32: against the float64 gradient, "
        "because a difference of float32 numbers has two digits at best",
    )
    gradcheck.add_argument(
        "--seeds", metavar="N", type=int, default=1, help="problems a setting (default: 1)"
    )
    gradcheck.add_argument(
        "--mutants",
        action="store_true",
        help="also plant the bank of wrong passes, each on up to three problems, and print by "
        "which arrays each was caught and what it was taken for",
    )
    gradcheck.add_argument(
        "--json",
        action="store_true",
        help="with the mutants too, and print one line of JSON last",
    )
    gradcheck.set_defaults(run=run_gradcheck)


def run_gradcheck(args):
    """Check, print the table, and return 1 where anything failed or was void."""
    from ..checking.cases import CASES
    from ..errors import InputError

    if args.list:
        print("\n".join(f"{case.floor:6} {name}" for name, case in CASES.items()))
        return 0
    if unknown := [name for name in args.names if name not in CASES]:
        raise InputError(
            f"no backward pass is called {unknown[0]}; `spikebert gradcheck --list` names them"
        )
    if args.seeds < 1:
        raise InputError(f"--seeds {args.seeds}: at least 1")
    chosen = [CASES[name] for name in args.names or CASES]
    tallies = _check_all(chosen, args)
    print("\n".join(_table(tallies)))
    reports = [report for tally in tallies for report in tally["bad"]]
    for report in reports[:10]:
        print(f"\n{report}")
    if len(reports) > 10:
        print(f"\n... and {len(reports) - 10} more reports like these")
    totals = {key: sum(tally[key] for tally in tallies) for key in ("checked", "failed", "void")}
    missed = 0
    if args.mutants or args.json:
        mutants, table = _check_mutants(chosen, args.seeds)
        missed = mutants["total"] - mutants["caught"]
        if args.mutants:
            print("\n" + "\n".join(aligned(table)))
        if args.json:
            worst = max(tally["worst"] for tally in tallies)
            print(json.dumps({**totals, "worst": worst, "mutants": mutants}))
    return int(totals["failed"] + totals["void"] + missed > 0)


def _check_all(cases, args):
    """One dict a case and backend: counts, the worst error and its row, the reports not passed."""
    from tqdm import tqdm

    from ..checking.case import check_float32, check_run, prepare
    from ..checking.diagnosis import diagnose

    check = check_run if args.dtype == "float64" else check_float32
    tallies = {}
    jobs = [
        (case, variant, seed)
        for case in cases
        for variant in case.variants
        for seed in range(args.seeds)
    ]
    for case, variant, seed in tqdm(jobs, file=sys.stderr, desc="gradcheck", unit="problem"):
        run = prepare(case, seed, variant)
        wanted = {args.backend} & set(case.backends) or case.backends
        for backend in wanted:
            report = check(run, backend=backend)
            tally = tallies.setdefault(
                (case.name, backend),
                {"case": case, "backend": backend, "checks": 0, "checked": 0, "failed": 0,
                 "void": 0, "kinks": 0, "worst": 0.0, "bad": []},
            )  # fmt: skip
            tally["checks"] += 1
            tally["checked"] += len(report.rows)
            tally["failed"] += report.count("FAIL")
            tally["void"] += report.count("VOID")
            tally["kinks"] += sum(row.kinks for row in report.rows)
            tally["bound"] = max(row.bound for row in report.rows)
            tally["worst"] = max(tally["worst"], report.worst)
            if not report.passed:
                about = ", ".join(f"{key} {value}" for key, value in variant.items())
                title = f"{report.title}, seed {seed}" + (f", {about}" if about else "")
                tally["bad"].append(diagnose(report._replace(title=title), run))
    return list(tallies.values())


def _table(tallies):
    rows = [("floor", "backward pass", "backend", "checks", "arrays", "error", "bound", "kinks",
             "verdict")]  # fmt: skip
    for tally in tallies:
        verdict = "FAIL" if tally["failed"] else "VOID" if tally["void"] else "PASS"
        rows.append((
            tally["case"].floor, tally["case"].name, tally["backend"], str(tally["checks"]),
            str(tally["checked"]), f"{tally['worst']:.1e}", f"{tally['bound']:.0e}",
            str(tally["kinks"]), verdict,
        ))  # fmt: skip
    return aligned(rows)


def _check_mutants(cases, seeds):
    """How many wrong passes of these cases are caught, and named among the first two guesses; and
    the rows of a table of them."""
    from tqdm import tqdm

    from ..checking.mutants import MUTANTS, try_mutant

    names = {case.name for case in cases}
    bank = [mutant for mutant in MUTANTS if mutant.case in names]
    caught = diagnosed = 0
    rows = [("backward pass", "mistake", "caught by", "taken for")]
    for mutant in tqdm(bank, file=sys.stderr, desc="mutants", unit="mutant"):
        trials = [try_mutant(mutant, seed) for seed in range(min(seeds, MUTANT_SEEDS))]
        caught += all(trial.caught_by for trial in trials)
        diagnosed += all(trial.diagnosed for trial in trials)
        by, guesses = trials[0].caught_by, trials[0].report.suggestions
        shown = ", ".join(by[:3]) + (f" and {len(by) - 3} more" if len(by) > 3 else "")
        rows.append((mutant.case, mutant.name, shown, guesses[0].name if guesses else "-"))
    return {"total": len(bank), "caught": caught, "diagnosed": diagnosed}, rows
