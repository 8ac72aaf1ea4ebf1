"""The `spikebert` command: parses, calls one function of `commands/`, reports a user's mistake."""

import argparse
import io
import os
import signal
import sys
from contextlib import suppress

from . import __version__
from .commands import (
    ablate,
    bench,
    data,
    demo,
    depth,
    energy,
    explain,
    explore,
    gradcheck,
    grade,
    probe,
    recipes,
    reproduce,
    results,
    shrink,
    sparsity,
    teacher,
    train,
    use,
)
from .errors import InputError
from .process import events_up_to, keep_freed_memory


def build_parser():
    """The parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="spikebert",
        description="SpikeBERT in NumPy: a spiking transformer for text, distilled from BERT, "
        "whose forward and backward passes are all written by hand.",
        epilog="New here? `spikebert demo` needs no download and takes under two minutes.",
    )
    parser.add_argument("--version", action="version", version=f"spikebert_np {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for module in (
        demo,
        data,
        teacher,
        train,
        use,
        explain,
        explore,
        probe,
        shrink,
        recipes,
        reproduce,
        results,
        ablate,
        depth,
        sparsity,
        energy,
        gradcheck,
        grade,
        bench,
    ):
        module.register(commands)
    return parser


def main(argv=None):
    """Run one command.

    Returns the exit status: 0, 1 where what it checks, its files or its output fail, 2 for a user's
    mistake, 130 for Ctrl-C or a SIGTERM.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # letters that a terminal does not have
    args = build_parser().parse_args(argv)
    with suppress(ValueError):  # not in the main thread
        # As Ctrl-C: what is half-written is cleared away.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    keep_freed_memory()
    try:
        events_up_to()  # what it refuses is refused before anything is written
        status = args.run(args) or 0
        if sys.stdout:
            sys.stdout.flush()
        return status
    except InputError as error:
        print(f"spikebert: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("spikebert: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        _let_go_of_output()  # the reader of a pipe, such as `head`, has left
        return 1
    except OSError as error:
        _let_go_of_output()
        print(
            f"spikebert: {error.filename or 'output'}: {error.strerror or error}; "
            "make room there, or name another place",
            file=sys.stderr,
        )
        return 1


def _let_go_of_output():
    """Write what can be written: Python would complain of the rest again at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
