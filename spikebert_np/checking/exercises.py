"""The exercises of the course by number, and their checkers by name: `ex_04_2`.

    from spikebert_np.checking import exercises as checks
    checks.ex_04_2(lif_backward)

Each chapter declares its own in `chapter_NN.py`, which is found here by its name. Such a file is a
list, and long where the exercises are many: each stands there with the arguments it draws, and each
wrong answer with the sentence that explains it.
"""

from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from .exercise import Exercise

EXERCISES = {}
for _module in iter_modules([str(Path(__file__).parent)]):
    if _module.name.startswith("chapter_"):
        for _name, _entry in vars(import_module(f".{_module.name}", __package__)).items():
            if isinstance(_entry, Exercise):
                EXERCISES[_entry.number] = globals()[_name] = _entry
