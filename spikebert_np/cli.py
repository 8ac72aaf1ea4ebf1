"""The `spikebert` command: parses, calls one function of `commands/`, reports a user's mistake."""

import argparse
import os
import sys

from . import __version__
from .commands import data, demo, gradcheck, teacher, train, use
from .errors import InputError


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
    for module in (demo, data, teacher, train, use, gradcheck):
        module.register(commands)
    return parser


def main(argv=None):
    """Run one command. Returns the exit status: 0, 2 for a user's mistake, 130 for Ctrl-C."""
    args = build_parser().parse_args(argv)
    try:
        return args.run(args) or 0
    except InputError as error:
        print(f"spikebert: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("spikebert: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of a pipe, such as `head`, has left. Python would complain again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
