"""What travels in the package: `toy_reviews`, corpus and cache, how they are named; a student."""

from importlib.resources import files
from pathlib import Path

from .readers import read_corpus
from .teacher_cache import load_cache
from .toy_reviews import toy_reviews

TOY = "toy_reviews"


# What its classes mean, in their order.
SHIPPED_CLASSES = ("negative", "positive")


def shipped_student():
    """The run folder of the SST-2 student that travels with the package."""
    return Path(str(files("spikebert_np"))) / "students" / "sst2"


def is_shipped(name):
    """Whether a corpus' name is `toy_reviews`, and no path of that name exists."""
    return str(name) == TOY and not Path(name).exists()


def open_corpus(name):
    """The splits of the corpus at a path; `toy_reviews` names the grammar's where no such path is.

    Raises InputError as `read_corpus` does.
    """
    return toy_reviews() if is_shipped(name) else read_corpus(name)


def open_cache(name):
    """The TeacherCache of a folder; `toy_reviews` names the shipped one where no such folder is.

    Raises InputError where there is neither, or where the files of the cache do not fit.
    """
    directory = Path(name)
    if str(name) == TOY and not directory.is_dir():
        package = Path(str(files("spikebert_np")))
        # Installed, it lies in the package; in a checkout (and for pip install -e) beside it.
        directory = package / "teacher_cache" / TOY
        if not directory.is_dir():
            directory = package.parent / "teacher_cache" / TOY
    return load_cache(directory)
