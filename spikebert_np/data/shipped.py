"""The teacher cache that travels in the package, and how a cache is named."""

from importlib.resources import files
from pathlib import Path

from ..errors import InputError
from .teacher_cache import load_cache

TOY = "toy_reviews"


def open_cache(name):
    """The TeacherCache of a folder; `toy_reviews` names the shipped one where no such folder is.

    Raises InputError where there is neither, or where the files of the cache do not fit.
    """
    directory = Path(name)
    if str(name) == TOY and not directory.is_dir():
        try:
            directory = Path(str(files("spikebert_np.teacher_cache.toy_reviews")))
        except ModuleNotFoundError:
            raise InputError(
                "toy_reviews: the shipped cache is not installed; run `pip install .` in the "
                "project's folder"
            ) from None
    return load_cache(directory)
