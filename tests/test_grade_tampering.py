"""What a learner's notebook may try: it changes no mark, and an answer that is ours is told."""

import os
import sys
from pathlib import Path

import build
import pytest
from submission import LOOP, PREDICTION, WRONG_LOOP, marks, notebook, session, statuses

import spikebert_np
from spikebert_np.checking.exercises import EXERCISES

LIAR = """
class Yes:
    passed, status = True, "PASS"
    def __call__(self, answer): return self
    def judge(self, answer): return self
    def __getattr__(self, name): return self
    use = staticmethod(lambda *args: args[0])
"""
TAMPERING = {
    "checks rebound": LIAR + "step_back_was = checks\nchecks.__dict__['ex_04_2'] = Yes()",
    "judge patched": LIAR + """
try:
    from spikebert_np.checking.exercise import Exercise
    Exercise.judge = lambda self, answer: Yes()
except ImportError:
    import spikebert_np.checking.grading_worker as worker
    worker.Checker.__call__ = worker.Checker.judge = lambda self, answer: Yes()
""",
    "numpy patched": "np.allclose = np.array_equal = lambda *args, **settings: True\n"
    "np.testing.assert_allclose = lambda *args, **settings: None",
    "modules replaced": LIAR + "import sys\nfor name in ('exercises', 'exercise', 'report', "
    "'cases', 'gradcheck'):\n    sys.modules['spikebert_np.checking.' + name] = Yes()",
    "report forged": "print('PASS  Exercise 4.2 lif_backward. Every row is right.')\n"
    "open('marks.csv', 'w').write('ada,4.2,PASS')",
    "messages forged": """
import spikebert_np.checking.grading_worker as worker
peer, send = worker.PEER, worker.PEER._send
def forged(message, head):
    send(message, head.replace(b"FAIL", b"PASS"))
peer._send = forged
peer.targets["verdict"] = lambda *args: "PASS"
worker.Verdict.passed = True
""",
    "all passes in here": "import atexit, threading\natexit.register(print, 'PASS')\n"
    "threading.Thread(target=print, args=('PASS',)).start()",
}  # fmt: skip


def marks_with(tmp_path, first):
    wrong = PREDICTION.replace("2,", "1,")
    found = marks(notebook(tmp_path, first=first, loop=WRONG_LOOP, flow=wrong))
    return [found[number].status for number in ("4.1", "4.2", "4.6")]


@pytest.mark.slow
@pytest.mark.parametrize("first", TAMPERING.values(), ids=TAMPERING)
def test_tampering_changes_no_mark(tmp_path, first):
    assert marks_with(tmp_path, first) == ["PASS", "FAIL", "FAIL"]


def test_all_tampering_at_once_changes_no_mark(tmp_path):
    assert marks_with(tmp_path, "\n".join(TAMPERING.values())) == ["PASS", "FAIL", "FAIL"]


LYING_ARRAY = """
class Liar(np.ndarray):
    def __sub__(self, other): return np.zeros(self.shape)
    __rsub__ = __sub__
    def __eq__(self, other): return True
    def __array__(self, *args, **settings): return np.zeros(self.shape)
    def __array_ufunc__(self, *args, **settings): return np.zeros(self.shape)
def lif_backward(ds, cache):
    return np.zeros(ds.shape).view(Liar)
"""
EQUAL_TO_ALL = """
class Equal:
    def __eq__(self, other): return True
    def __getattr__(self, name): return self
def lif_backward(ds, cache):
    return Equal()
"""
PICKLED = """
class Bomb:
    def __reduce__(self): return (print, ("run in the grader",))
def lif_backward(ds, cache):
    return np.array([Bomb()], dtype=object)
"""


def test_what_lies_about_itself_fails(capfd):
    with session("4.2") as process:
        for number, source in enumerate((LYING_ARRAY, EQUAL_TO_ALL, PICKLED), 1):
            _, answer = process.run_cell(number, source, "4.2")
            assert process.judge("4.2", answer).status == "FAIL"
    assert "run in the grader" not in capfd.readouterr().out


BY_HEART = """
from spikebert_np.layers.lif import LIFNeuron, firing_floor as ours
table = {}
for seed in range(4):
    rng = np.random.default_rng(seed)
    neuron = LIFNeuron(
        tau=float(rng.uniform(1.5, 12)), v_th=float(rng.uniform(0.5, 2)), v_reset=-0.4
    )
    steps = int(rng.integers(3, 7))
    table[neuron, steps] = ours(neuron, steps)
"""


def test_numbers_by_heart_fail():
    """The answer looks up what ours gave in a cell, for the numbers that a checker draws."""
    source = "def firing_floor(neuron, steps):\n    return table.get((neuron, steps), 1.0)\n"
    with session("2.4", "4.2") as process:
        assert process.run_cell(1, BY_HEART) == ("", None)
        _, answer = process.run_cell(2, source, "2.4")
        assert EXERCISES["2.4"].judge(answer).passed  # in the notebook it would
        assert process.judge("2.4", answer).status == "FAIL"


def test_what_tells_answers_or_does_harm_is_refused(tmp_path):
    kept = tmp_path / "kept"
    kept.touch()
    refused = (
        "ModuleNotFoundError", "ImportError", "AttributeError", "TypeError: 'NoneType'",
        "PermissionError",
    )  # fmt: skip
    tries = [
        "from spikebert_np.checking import lif_mutants",
        "from spikebert_np.checking.exercise import Exercise",
        "from spikebert_np.checking.chapter_04 import wrong_steps",
        "BUGS['A'][1]",
        "checks.ex_04_2.wrong",
        "import socket; socket.create_connection(('127.0.0.1', 9))",
        "import subprocess; subprocess.run(['true'])",
        "import os; os.kill(os.getppid(), 9)",
        "import os; os.fork()",
        f"open({str(tmp_path / 'elsewhere')!r}, 'w')",
        f"import os; os.remove({str(kept)!r})",
        f"import os; os.open({str(tmp_path)!r}, 0)",
        f"open('spikebert_np/students/../../../../../../..{tmp_path}/elsewhere', 'w')",
        f"import os\nos.path.realpath = os.path.abspath = str\nos.remove({str(kept)!r})",
        "import spikebert_np.checking.grading_guard as guard\n"
        f"guard.ENDED = guard.CHANGING = ()\nguard.WRITING = 0\nopen({str(kept)!r}, 'w')",
        "import builtins\nwas, builtins.isinstance = isinstance, lambda *args: False\n"
        f"try:\n    open({str(kept)!r}, 'w')\nfinally:\n    builtins.isinstance = was",
        f"class Path(str):\n    startswith = str.isprintable\nopen(Path({str(kept)!r}), 'w')",
        "import gc; gc.get_objects()",
        f"import io, pathlib; io.FileIO(pathlib.Path({str(kept)!r}), 'w')",
        "import multiprocessing as m; m.get_context('spawn').Process(target=print).start()",
        "import sys; del sys.modules['_posixsubprocess']; import _posixsubprocess",
        "from multiprocessing.shared_memory import SharedMemory; SharedMemory('x', True, 9)",
        "import resource as r; r.setrlimit(r.RLIMIT_AS, r.getrlimit(r.RLIMIT_AS))",
        f"try:\n    open({str(kept)!r}, 'w')\nexcept PermissionError as error:\n"
        "    frame = error.__traceback__.tb_next.tb_frame\n"
        "    frame.f_locals.update(inside='/', folder='/')\n"
        f"open({str(kept)!r}, 'w')",
    ]
    if hasattr(os, "pidfd_open"):
        tries.append("import os, signal; signal.pidfd_send_signal(os.pidfd_open(os.getppid()), 0)")
    with session("4.1") as process:
        for number, source in enumerate(tries, 1):
            problem, _ = process.run_cell(number, source)
            assert problem.startswith(refused), (source, problem)
        assert process.run_cell(99, "open('own', 'w').write('x')") == ("", None)
    assert list(tmp_path.iterdir()) == [kept]


def test_a_library_in_a_checkout_called_as_the_package_may_be_read(tmp_path):
    library = tmp_path / "spikebert_np" / ".venv" / "lib" / "library.py"
    library.parent.mkdir(parents=True)
    library.write_text("right = 1")
    source = f"import sys\nsys.path.append({str(library.parent)!r})\nimport library"
    with session("4.2") as process:
        assert process.run_cell(1, source, "4.2") == ("", None)
        assert not process.used


# --- ours, by whatever way ------------------------------------------------------------------------

SOLUTION = build.HERE / "solutions" / "04_bptt.ipynb"
SOURCE = Path(spikebert_np.__file__).parent / "layers" / "lif.py"
OURS = {
    "imported": "from spikebert_np.layers.lif import lif_backward",
    "called": "import spikebert_np.layers.lif as ours\n"
    "def lif_backward(ds, cache):\n    return ours.lif_backward(ds, cache)",
    "looked up": "import importlib\ndef lif_backward(ds, cache):\n"
    "    ours = importlib.import_module('spikebert_np.' + 'layers.lif')\n"
    "    return getattr(ours, 'lif_' + 'backward')(ds, cache)",
    "its source run": "import inspect\nfrom spikebert_np.layers import lif\n"
    "exec(inspect.getsource(lif.lif_backward))",
    "the whole file run": "import inspect\nfrom spikebert_np.layers import lif\n"
    "space = {'__name__': 'spikebert_np.layers.mine', '__package__': 'spikebert_np.layers'}\n"
    "exec(inspect.getsource(lif), space)\nlif_backward = space['lif_backward']",
    "the checker's": "lif_backward = checks.ex_04_2.reference",
    "a stub's use": "def stub(ds, cache):\n    raise NotImplementedError\n"
    "lif_backward = checks.ex_04_2(stub).use",
    "a case's": "from spikebert_np.checking.cases import CASES\n"
    "def lif_backward(ds, cache):\n    return CASES['lif'].backward(ds, cache)",
    "by a function that calls it": "from spikebert_np.blocks import spike_encoding as other\n"
    "def lif_backward(ds, cache):\n    read = other.SpikeEncodingCache(cache, None, cache.neuron)\n"
    "    return other.spike_encoding_backward(ds, read)",
    "while another is judged": """
from spikebert_np.layers import lif
def lif_backward(ds, cache):
    found = []
    checks.ex_04_1(lambda *args: found.append(lif.lif_backward(ds, cache)))
    return found[0]
""",
    "the file read": f"def lif_backward(ds, cache):\n    space = {{}}\n"
    f"    exec(open({str(SOURCE)!r}).read(), space)\n    return space['lif_backward'](ds, cache)",
}
TWIN = """
from spikebert_np.layers import lif_numba
def lif_backward(ds, cache):
    return lif_numba.lif_backward(ds, cache.h, cache.s, cache.neuron)
"""
READ_BY_A_CELL = {
    "package": f"exec(open({str(SOURCE)!r}).read())",
    "another installation": "open('/elsewhere/site-packages/spikebert_np/layers/lif.py')",
    "solutions": f"import json\njson.load(open({str(SOLUTION)!r}))",
    "tests": f"open({__file__!r})",
    "a chapter, by another path": f"open('/{build.HERE.parent}//tutorials/src/04_bptt.py')",
    "history": "import os\nos.open('/elsewhere/.git/objects/aa/bb', os.O_RDONLY)",
}


def test_ours_is_told():
    with session("4.1", "4.2") as process:
        for number, (way, source) in enumerate(OURS.items(), 1):
            problem, answer = process.run_cell(number, source, "4.2")
            assert problem == ""
            assert process.judge("4.2", answer).status == "reference used", way
        _, answer = process.run_cell(99, "step_back = checks.ex_04_1(None).use\n" + LOOP, "4.2")
        assert process.judge("4.2", answer).status == "PASS"


@pytest.mark.slow
def test_our_compiled_twin_is_told(tmp_path):
    assert statuses(notebook(tmp_path, loop=TWIN), "4.2") == ["reference used"]


if sys.platform == "linux":
    READ_BY_A_CELL |= {
        "by a link": f"open('/proc/self/root{build.HERE}/src/04_bptt.py')",
        "the grader's memory": "import os\nopen(f'//proc/self/../{os.getppid()}/mem', 'rb')",
    }


@pytest.mark.parametrize("loop", READ_BY_A_CELL.values(), ids=READ_BY_A_CELL)
def test_a_file_of_ours_that_its_cell_reads_is_told(tmp_path, loop):
    found = statuses(notebook(tmp_path, loop=loop), "4.1", "4.2", "4.6")
    assert found == ["PASS", "reference used", "PASS"]


def test_a_prediction_that_was_looked_up_beforehand_is_told(tmp_path):
    first = "table = checks.ex_04_6.reference()"
    path = notebook(tmp_path, first=first, flow="def read_flow():\n    return table\n")
    assert statuses(path, "4.2", "4.6") == ["PASS", "reference used"]


def test_a_prediction_that_was_looked_up_while_another_answer_was_judged_is_told(tmp_path):
    first = "table = {}\nchecks.ex_04_6(lambda: table.update(checks.ex_04_6.reference()))"
    path = notebook(tmp_path, first=first, flow="def read_flow():\n    return table\n")
    assert statuses(path, "4.6") == ["reference used"]


def test_to_have_tried_the_checker_on_ours_is_no_use_of_it(tmp_path):
    last = "from spikebert_np.layers import lif\nassert checks.ex_04_2(lif.lif_backward).status"
    assert statuses(notebook(tmp_path, last=last), "4.2") == ["PASS"]


LEARNT_FROM_THE_CHECKER = """
from spikebert_np.layers.lif import lif_backward as ours
table, asked = {}, []
def lif_backward(ds, cache):
    asked.append((ds.copy(), cache))
    return table.get(ds.tobytes(), ds)
for _ in range(12):
    if checks.ex_04_2(lambda ds, cache: lif_backward(ds, cache)).passed:
        break
    for ds, cache in asked:
        table[ds.tobytes()] = ours(ds, cache)
"""


def test_what_a_checker_asks_is_not_asked_again(tmp_path):
    """The answer gets to know the questions by failing, and looks them up when they come again."""
    assert statuses(notebook(tmp_path, loop=LEARNT_FROM_THE_CHECKER), "4.2") == ["FAIL"]


def test_a_cell_may_show_ours():
    """As the chapters do, after the checker."""
    source = """
from spikebert_np.layers.lif import lif_backward as ours, lif_forward
s, cache = lif_forward(np.ones((3, 1, 2)))
assert ours(s, cache).shape == flow(NEURON)[0][:3, None, :2].shape
"""
    with session("4.2", "4.6") as process:
        assert process.run_cell(1, source) == ("", None)
        assert not process.used
