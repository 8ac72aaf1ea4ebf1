"""What a training run that was stopped goes on from: one file.

It is an uncompressed .npz because that is written array by array: no second copy in memory.
"""

import json

import numpy as np

from ..errors import InputError
from ..files import write_atomically
from .optim import AdamWState, adamw_init


def write_checkpoint(path, params, state, records, sums):
    """Write the file, whole or not at all.

    state: AdamWState. records: what was logged of the epochs done. sums: those of the epoch under
    way. The last two are lists and dicts of plain numbers.
    """
    arrays = {}
    for name, values in (("params", params), ("mean", state.mean), ("square", state.square)):
        arrays |= {f"{name}.{key}": value for key, value in values.items()}
    about = json.dumps({"step": state.step, "records": records, "sums": sums})

    def write(temporary):
        with open(temporary, "wb") as file:
            np.savez(file, about=np.array(about), **arrays)

    write_atomically(path, write)


def read_checkpoint(path, params):
    """(AdamWState, records, sums of the epoch under way); params are overwritten in place.

    Without a file: the state of a start. Raises InputError where the file is damaged.
    """
    state = adamw_init(params)
    if not path.exists():
        return state, [], {}
    try:
        with np.load(path, allow_pickle=False) as file:
            about = json.loads(str(file["about"]))
            for name, values in (
                ("params", params),
                ("mean", state.mean),
                ("square", state.square),
            ):
                for key, value in values.items():
                    value[...] = file[f"{name}.{key}"]
    except Exception as error:  # a damaged archive raises anything from KeyError to BadZipFile
        raise InputError(
            f"{path}: cannot be read ({error}); delete {path.parent} to start from the beginning"
        ) from error
    return AdamWState(state.mean, state.square, about["step"]), about["records"], about["sums"]
