"""Runs notebooks as plain Python, and tries the answers of every exercise.

A notebook of the course holds no line that Python alone does not read (`build.py` sees to it), so
that its cells can be run one after another without a kernel: in seconds, and wherever the package
is installed.
"""

import ast
import io
import json
import linecache
from contextlib import redirect_stdout
from pathlib import Path

from build import HERE, sources

from spikebert_np.checking.exercises import EXERCISES


def run_notebook(path, pictures=None):
    """Run all cells: {number: answer}, of every exercise, and what was printed.

    pictures: a folder where the figures are written, NN_name-cell.png.
    """
    answers, namespace = {}, {"__name__": "__main__"}
    printed = io.StringIO()
    for number, cell in enumerate(json.loads(path.read_text(encoding="utf-8"))["cells"]):
        if cell["cell_type"] != "code":
            continue
        with redirect_stdout(printed):
            shown = _run_cell("".join(cell["source"]), f"{path.stem}, cell {number}", namespace)
            picture = shown._repr_png_()[0] if hasattr(shown, "_repr_png_") else None
        if picture and pictures:
            (Path(pictures) / f"{path.stem}-{number:02d}.png").write_bytes(picture)
        if exercise := cell["metadata"].get("exercise"):
            answers[exercise] = namespace[cell["metadata"]["answer"]]
    return answers, printed.getvalue()


def _run_cell(source, name, namespace):
    """The value of the last line, where that is an expression: what Jupyter would show."""
    linecache.cache[name] = len(source), None, source.splitlines(keepends=True), name
    tree, last = ast.parse(source, name), None
    if tree.body and isinstance(tree.body[-1], ast.Expr):
        last = ast.Expression(tree.body.pop().value)
    exec(compile(tree, name, "exec"), namespace)
    return eval(compile(last, name, "eval"), namespace) if last else None


def trial(exercise, answer):
    """(the solution's Verdict, [(Wrong, its Verdict)])."""
    wrong = [(entry, exercise.judge(entry.answer)) for entry in exercise.wrong]
    return exercise.judge(answer), wrong


def named(wrong, verdict):
    """Whether the report's first two suggestions hold the mistake itself."""
    suggestions = verdict.report.suggestions[:2] if verdict.report else ()
    return wrong.name in [suggestion.name for suggestion in suggestions]


def solutions(chapter=""):
    """The notebooks with solutions, of one chapter, such as 04, or of all."""
    for path in sources():
        if path.name.startswith(chapter):
            yield HERE / "solutions" / path.with_suffix(".ipynb").name


def draw(folder, chapter=""):
    """Write every figure that the solutions show."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    for path in solutions(chapter):
        print(path.stem, run_notebook(path, folder)[1], sep="\n")
    return 0


def table(chapter=""):
    """Print a row an exercise; 1 where a solution fails, a wrong answer passes, or there are too
    few wrong ones or too few named."""
    bad, totals = 0, [0, 0, 0]
    print("exercise                         solution  wrong  fail  named")
    for path in solutions(chapter):
        answers, _ = run_notebook(path)
        for number, answer in answers.items():
            exercise = EXERCISES[number]
            solution, wrong = trial(exercise, answer)
            failed = [pair for pair in wrong if pair[1].status == "FAIL"]
            right = sum(named(*pair) for pair in failed)
            counts = len(wrong), len(failed), right
            totals = [total + count for total, count in zip(totals, counts, strict=True)]
            share = right / len(wrong) if wrong else 0
            good = solution.passed and len(wrong) == len(failed) >= 5 and share >= 0.8
            bad += not good
            row = f"{exercise.title:32} {solution.status:8} {counts[0]:6} {counts[1]:5}"
            print(f"{row}  {share:5.0%}{'' if good else '  <-'}")
            for entry, verdict in wrong:
                if verdict.status != "FAIL" or not named(entry, verdict):
                    taken = [s.name for s in verdict.report.suggestions] if verdict.report else ()
                    print(
                        f"    {entry.name}: {verdict.status}, taken for {', '.join(taken) or '-'}"
                    )
    print(f"{'all':41} {totals[0]:6} {totals[1]:5}  {totals[2] / max(totals[0], 1):5.0%}")
    return int(bad > 0)
