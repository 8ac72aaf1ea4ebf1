"""Work in steps, each a folder that appears whole or not at all: what is done is not done again.

Beside the folder of a step NAME lies NAME.json: the settings of the step and of all that it is made
from, with the sha256 of the data. A folder whose settings are others is refused, by name, before
anything starts. A step that was stopped begins anew, or goes on where its own command does.
Two commands on one folder wait for each other, step by step.
"""

import json
import shutil
import sys
from collections.abc import Callable
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from ..errors import InputError
from ..files import write_atomically
from ..process import events_up_to, give_freed_memory_back
from ..training.estimate import Estimate


class Step(NamedTuple):
    name: str  # its folder under OUT
    needs: tuple  # the names of the steps that it is made from
    settings: dict  # plain values: what it depends on beside those
    estimate: Estimate
    make: Callable  # called with the folder, which it writes


class Plan(NamedTuple):
    out: Path
    steps: list
    records: dict  # name -> {step: its settings}, of the step and of all that it is made from
    due: list  # the steps that are to be made


def make_plan(out, steps, shared):
    """Which of the steps, given in order, are to be made.

    shared: {name: settings} that all depend on. A step that only others need which are done is not
    due: a large cache may be deleted when what was trained on it is there. Raises InputError where
    a folder was made with other settings.
    """
    shared = shared | {"SPIKEBERT_EVENTS_UP_TO": events_up_to()}  # by it all sums are rounded
    records = {}
    for step in steps:
        below = {name: value for need in step.needs for name, value in records[need].items()}
        # As JSON gives it back.
        records[step.name] = json.loads(
            json.dumps(shared | below | {step.name: step.settings}, sort_keys=True)
        )
        if is_done(out / step.name):
            _refuse_another(out, step.name, records[step.name])
    needed = {step.name for step in steps} - {need for step in steps for need in step.needs}
    due = []
    for step in reversed(steps):
        if step.name in needed and not is_done(out / step.name):
            due.insert(0, step)
            needed |= set(step.needs)
    return Plan(out, steps, records, due)


def is_done(folder):
    """Whether a step's folder is there: an empty one is what a kill leaves."""
    return folder.is_dir() and any(folder.iterdir())


def print_plan(plan):
    """The steps, those done, and what the others will about take."""
    print("about         time     disk   memory  step")
    total = Estimate(0.0, 0.0, 0.0)
    for step in plan.steps:
        if step not in plan.due:
            state = "done" if is_done(plan.out / step.name) else "not needed any more"
            print(f"  {state:>30}  {step.name}")
            continue
        print(f"  {_amounts(step.estimate)}  {step.name}")
        total = Estimate(
            total.seconds + step.estimate.seconds,
            total.disk_bytes + step.estimate.disk_bytes,
            max(total.memory_bytes, step.estimate.memory_bytes),
        )
    print(f"  {_amounts(total)}  in all")
    existing = next(path for path in plan.out.absolute().parents if path.exists())
    free = shutil.disk_usage(existing).free
    print(
        f"These are estimates, from the number of tokens and rates measured elsewhere, not "
        f"measurements; {free / 1e9:,.1f} GB of disk are free. Stopped at any moment, the same "
        "command goes on.",
        flush=True,
    )


def _amounts(estimate):
    return (
        f"{estimate.seconds / 60:8,.1f} min {estimate.disk_bytes / 1e9:5.2f} GB "
        f"{estimate.memory_bytes / 1e9:5.1f} GB"
    )


def run_plan(plan):
    """Make the steps that are due, in order, but for those that another command makes meanwhile."""
    for step in plan.due:
        print(f"\n== {step.name}", flush=True)
        folder = plan.out / step.name
        folder.parent.mkdir(parents=True, exist_ok=True)
        with locked(folder):
            if is_done(folder):
                _refuse_another(plan.out, step.name, plan.records[step.name])
                print("done by another command")
                continue
            for left in folder.parent.glob(f".{folder.name}.[0-9]*"):  # of a call that was killed
                shutil.rmtree(left)
            # Written first: a folder is never there without its settings.
            _write_record(plan, step.name, None)
            _forget_peak()
            step.make(folder)
            _write_record(plan, step.name, _peak_bytes())


@contextmanager
def locked(path):
    """While it lasts, no other command is in here with this path: it waits.

    The lock's file goes where all went well: what it guards is whole by then, as those see who
    waited.
    """
    from filelock import FileLock

    file = path.with_name(f".{path.name}.lock")
    with FileLock(file):
        yield
        with suppress(OSError):  # Windows deletes no open file
            file.unlink()


def write_step_json(folder, name, value):
    """Make a step's folder of one JSON file `name`, whole or not at all."""
    from ..training.stages import new_run_folder

    with new_run_folder(folder.resolve()) as temporary:
        (temporary / name).write_text(json.dumps(value, indent=2) + "\n", "utf-8")


def peak_of(out, name):
    """The peak memory in bytes of the process that made a step, or None where nobody knows."""
    record = Path(out) / f"{name}.json"
    return json.loads(record.read_text("utf-8"))["peak_bytes"] if record.is_file() else None


def _write_record(plan, name, peak_bytes):
    text = json.dumps({"peak_bytes": peak_bytes, "settings": plan.records[name]}, indent=2)
    write_atomically(plan.out / f"{name}.json", lambda path: path.write_text(text + "\n", "utf-8"))


def _refuse_another(out, name, record):
    file = out / f"{name}.json"
    remedy = f"delete {out / name} to make it anew, or name another folder"
    try:
        before = json.loads(file.read_text("utf-8"))["settings"]
    except (OSError, ValueError, KeyError):
        raise InputError(f"{file}: the settings of {out / name} cannot be read; {remedy}") from None
    old, new = _flat(before), _flat(record)
    for key in [*new, *old]:
        if old.get(key) != new.get(key):
            raise InputError(
                f"{out / name}: was made with {key} = {_shown(old, key)}, but now it is "
                f"{_shown(new, key)}; {remedy}"
            )


def _shown(values, key):
    return json.dumps(values[key]) if key in values else "absent"


def _flat(table, prefix=""):
    """{"teacher.epochs": 3, ...} of nested dicts."""
    flat = {}
    for key, value in table.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _forget_peak():
    """Begin to measure anew. Linux only: elsewhere the peak is that of all steps so far."""
    give_freed_memory_back()
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak_bytes():
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024
    except (OSError, IndexError):
        import resource  # which Windows does not have

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
