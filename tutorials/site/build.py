"""Builds the course's site: the chapters, the conventions, and a reference from the docstrings.

    pip install -e '.[site]'
    python tutorials/site/build.py            open tutorials/site/build/html/index.html

A page needs no network and no server. A warning is an error: a link that leads nowhere, a chapter
that raises, a formula that cannot be set.

Nothing is listed by hand. The chapters are the learner's notebooks, run unsolved: their text speaks
of the figures and tables below it. The reference has a page for each file of the folders in
REFERENCE.

Sphinx with MyST-NB and the book theme are the parts that Jupyter Book 1 is made of. Jupyter Book
itself holds them at old versions, and its version 2 reads no docstrings. MkDocs reads another
Markdown than JupyterLab does: a formula or list in a hint, which stands in `<details>`, stays text.
"""

import argparse
import ast
import json
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
TUTORIALS = HERE.parent
PACKAGE = TUTORIALS.parent / "spikebert_np"

REFERENCE = ("layers", "blocks", "models", "training", "checking")
BADGE = "[![Open in Colab]"
HIDDEN = ("__init__", "chapter_")  # the exercises' files hold their answers

CONTENTS = """
```{toctree}
:hidden:
:caption: Chapters
:glob:

[0-9][0-9]_*
```

```{toctree}
:hidden:
:caption: Reference

conventions
%s
```
"""


def stage(source):
    """Write what Sphinx reads into the folder `source`."""
    source.mkdir(parents=True)
    for path in TUTORIALS.glob("[0-9][0-9]_*.ipynb"):
        (source / path.name).write_text(for_readers(path), encoding="utf-8")
    shutil.copy(TUTORIALS / "conventions.md", source)
    course = (TUTORIALS / "README.md").read_text(encoding="utf-8")
    contents = CONTENTS % "\n".join(f"api/{folder}" for folder in REFERENCE)
    (source / "index.md").write_text(course + contents, encoding="utf-8")
    for folder in REFERENCE:
        stage_reference(folder, source / "api")


def for_readers(path):
    """The notebook, where code of ours opens at a click, so that an exercise can be tried first,
    and no checker says that its exercise is unsolved. What it has for Colab, a badge under the
    title and then the first cell of code, is left out: the one is loaded from elsewhere, the other
    installs what the page needs no more."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    title, setup, *rest = notebook["cells"]
    title["source"] = [line for line in title["source"] if not line.startswith(BADGE)]
    if not setup["source"][0].startswith("# For Colab"):
        raise ValueError(f"{path.name}: its second cell is not the one for Colab")
    notebook["cells"] = [title, *rest]
    for cell in rest:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code" and "getsource(" in source:
            cell["metadata"]["tags"] = ["hide-output"]
        elif cell["cell_type"] == "code" and "checks.ex_" in source:
            cell["metadata"]["tags"] = ["remove-output"]
    return json.dumps(notebook)


def stage_reference(folder, api):
    """A page that lists the files of a folder of the package, and a page for each."""
    (api / folder).mkdir(parents=True)
    rows = []
    for path in sorted((PACKAGE / folder).glob("*.py")):
        if path.name.startswith(HIDDEN):
            continue
        says = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        first = " ".join(says.partition("\n\n")[0].split())
        rows.append(f"- [{path.stem}]({folder}/{path.stem}.md): {first}")
        # What a file imports and hands on, by `__all__`, stands on its own file's page.
        options = "   :members:\n   :ignore-module-all:"
        directive = f".. automodule:: spikebert_np.{folder}.{path.stem}\n{options}"
        page = f"# {path.stem}\n\n```{{eval-rst}}\n{directive}\n```\n"
        (api / folder / f"{path.stem}.md").write_text(page, encoding="utf-8")
    tree = f"```{{toctree}}\n:hidden:\n:glob:\n\n{folder}/*\n```"
    listing = "\n".join([f"# spikebert_np.{folder}", "", *rows, "", tree, ""])
    (api / f"{folder}.md").write_text(listing, encoding="utf-8")


def build(folder):
    """folder/source -> folder/html. Returns 0, or 1 where there was a warning."""
    from sphinx.cmd.build import main as sphinx

    strict = ["--fail-on-warning", "--keep-going", "--jobs", "auto"]
    folders = ["-c", HERE, "-d", folder / "doctrees", folder / "source", folder / "html"]
    return sphinx([*strict, *map(str, folders)])


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "folder", nargs="?", type=Path, default=HERE / "build", help="emptied, then written to"
    )
    folder = parser.parse_args().folder
    shutil.rmtree(folder, ignore_errors=True)
    stage(folder / "source")
    return build(folder)


if __name__ == "__main__":
    sys.exit(main())
