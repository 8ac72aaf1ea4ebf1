"""Command-line flags and TOML tables from the fields of a config dataclass.

A flag overrides the file given with --config, which overrides the default. And tables for a
terminal, and output that may be cut off without ending the work.
"""

import argparse
import os
import sys
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import fields

from ..training.checkpoint import read_toml


def add_flags(parser, cls, title, helps, defaults=None):
    """A flag `--like-this` for each field named in helps: {field: help text}.

    defaults: values that differ from the dataclass' own.
    """
    group = parser.add_argument_group(title)
    types = {field.name: field.type for field in fields(cls)}
    for name, text in helps.items():
        default = (defaults or {}).get(name, getattr(cls, name))
        kwargs = {"metavar": types[name].__name__.upper(), "type": types[name]}
        if types[name] is tuple:
            kwargs = {"metavar": "INT,INT,...", "type": _integers}
            default = ",".join(map(str, default))
        if types[name] is bool:
            kwargs = {"action": argparse.BooleanOptionalAction}
        # None tells a flag that was not given from one that repeats the default.
        parser_flag = "--" + name.replace("_", "-")
        group.add_argument(
            parser_flag, dest=name, default=None, help=f"{text} (default: {default})", **kwargs
        )


def _integers(text):
    """What argparse reads `3,4,5` with: a list, as a TOML file gives it."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text}: give whole numbers with commas between them"
        ) from None


def chosen(args, names, table, defaults=None):
    """{name: value} of the given names: the flag, else the table's entry, else the default's.

    A name with none of the three is left out. Entries of the table under other names are kept, so
    that a misspelt one is refused later, by name.
    """
    flags = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    return (defaults or {}) | table | flags


def read_config(args):
    """The tables of --config FILE.toml, or none."""
    return read_toml(args.config) if args.config else {}


def at_least(least):
    """What argparse reads a whole number with, `least` or more."""

    def parse(text):
        if not text.lstrip("-").isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text}: give a whole number, {least} or more")
        return int(text)

    return parse


def aligned(rows):
    """The lines of a table of strings, its columns as wide as they must be."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


@contextmanager
def patient_output():
    """What is printed may fail: a reader of the pipe that leaves, as `head` does, ends no work."""
    with open(os.devnull, "w") as nowhere:
        out, err = (_Patient(stream or nowhere) for stream in (sys.stdout, sys.stderr))
        with redirect_stdout(out), redirect_stderr(err):
            yield


class _Patient:
    """A text stream that falls silent where it cannot be written any more."""

    def __init__(self, stream):
        self.stream = stream

    def __getattr__(self, name):
        return getattr(self.stream, name)

    def write(self, text):
        return self._try(self.stream.write, text)

    def flush(self):
        self._try(self.stream.flush)

    def _try(self, act, *args):
        try:
            return act(*args)
        except OSError:
            # Python would try again to write what is left over, and complain at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())
