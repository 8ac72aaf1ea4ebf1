"""Reads tutorials/conventions.md: its tables as rows of cells, its recipes as functions."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[1] / "tutorials" / "conventions.md"


def tables():
    """First header cells -> the table's rows, each a dict from header to cell, backticks off."""
    found = {}
    for block in re.findall(r"(?:^\|.*\|\n)+", PAGE.read_text(encoding="utf-8"), re.MULTILINE):
        header, _, *rows = (
            [cell.strip().replace("`", "") for cell in line.strip("|").split("|")]
            for line in block.splitlines()
        )
        found[header[0], header[1]] = [dict(zip(header, row, strict=True)) for row in rows]
    return found


def recipes():
    """Name -> function, of all that the page's Python blocks define."""
    text = PAGE.read_text(encoding="utf-8")
    namespace = {}
    for block in re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        exec(compile(block, str(PAGE), "exec"), namespace)
    return namespace
