"""Command-line flags and TOML tables from the fields of a config dataclass.

A flag overrides the file given with --config, which overrides the default.
"""

import argparse
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
        if types[name] is bool:
            kwargs = {"action": argparse.BooleanOptionalAction}
        # None tells a flag that was not given from one that repeats the default.
        parser_flag = "--" + name.replace("_", "-")
        group.add_argument(
            parser_flag, dest=name, default=None, help=f"{text} (default: {default})", **kwargs
        )


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
