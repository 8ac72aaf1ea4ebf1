"""A copy of this package for the process of a learner's code: the answers are taken out.

A function that an exercise asks for keeps its head and its docstring. Its body asks the grader,
which runs ours over there, and takes note. What tells answers otherwise is left out: the exercises,
the chapters, the bank of wrong passes.
"""

import ast
import re
import shutil
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
LEFT_OUT = re.compile(
    r"checking/(chapter_\d\d|exercises?|bug_hunt|\w*mutants?|grading(_copy|_process|_session)?)\.py"
)


def copy_package(folder, names):
    """folder/spikebert_np without the bodies of all functions of these names, and its data.

    Returns {(module, name)} of what was emptied, such as ("layers.lif", "lif_backward").
    """
    emptied = set()
    for path in PACKAGE.rglob("*.py"):
        inside = path.relative_to(PACKAGE)
        if LEFT_OUT.fullmatch(inside.as_posix()):
            continue
        copy = folder / PACKAGE.name / inside
        copy.parent.mkdir(parents=True, exist_ok=True)
        source = path.read_text(encoding="utf-8")
        if any(f"def {name}(" in source for name in names):
            module = ".".join(inside.with_suffix("").parts)
            source, found = without_bodies(source, names, module)
            emptied |= {(module, name) for name in found}
            copy.write_text(source, encoding="utf-8")
        else:
            shutil.copyfile(path, copy)
    # No links: what is written to a copy changes no file of ours.
    for name in ("recipes", "students", "teacher_cache"):
        if (PACKAGE / name).is_dir():
            shutil.copytree(PACKAGE / name, folder / PACKAGE.name / name)
    shipped = Path("teacher_cache", "toy_reviews")
    if (PACKAGE.parent / shipped).is_dir():  # a checkout has it beside the package
        shutil.copytree(PACKAGE.parent / shipped, folder / shipped)
    return emptied


def without_bodies(source, names, module):
    """The source, and the names of the functions whose bodies were taken out."""
    lines, found = source.splitlines(keepends=True), []
    for node in reversed(ast.parse(source).body):
        if isinstance(node, ast.FunctionDef) and node.name in names:
            begin = min(part.lineno for part in (node, *node.decorator_list))
            lines[begin - 1 : node.end_lineno] = [_asking(node, module)]
            found.append(node.name)
    return "".join(lines), found


def _asking(node, module):
    """The function with a body that asks the grader."""
    args = node.args
    positional = [f"{arg.arg}, " for arg in (*args.posonlyargs, *args.args)]
    named = [f'"{arg.arg}": {arg.arg}, ' for arg in args.kwonlyargs]
    positional += [f"*{args.vararg.arg}, "] if args.vararg else []
    named += [f"**{args.kwarg.arg}, "] if args.kwarg else []
    docstring = ast.get_docstring(node)
    return (
        f"def {node.name}({ast.unparse(args)}):\n"
        + (f"    {docstring!r}\n" if docstring else "")
        + "    from spikebert_np.checking.grading_worker import ask\n"
        + f'    return ask("ours", "{module}", "{node.name}", ({"".join(positional)}), '
        f"{{{''.join(named)}}})\n"
    )
