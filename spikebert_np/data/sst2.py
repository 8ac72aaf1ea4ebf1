"""SST-2 as GLUE publishes it: fetched, verified and unpacked."""

import hashlib
import zipfile
import zlib
from pathlib import Path

from ..errors import InputError
from ..files import write_atomically
from .download import download, file_digest

URL = "https://dl.fbaipublicfiles.com/glue/data/SST-2.zip"
ARCHIVE_MD5 = "9f81648d4199384278b86e315dac217c"
FILE_MD5 = {
    "train.tsv": "da409a0a939379ed32a470bc0f7fe99a",
    "dev.tsv": "268856b487b2a31a28c0a93daaff7288",
}


def get_sst2(out_dir, *, from_zip=None, url=URL):
    """Put GLUE's train.tsv and dev.tsv into `out_dir` and return that folder as a Path.

    from_zip: the archive, already on this machine, instead of the download. Where both files are
    there with the right md5 nothing is done; else each one's md5 is checked before either is
    written. The archive's third file, test.tsv, has no labels and is not unpacked.

    Raises InputError for a failed download (see `download`), for an archive that is not GLUE's and
    for a folder that cannot be written.
    """
    out_dir = Path(out_dir)
    targets = {out_dir / name: md5 for name, md5 in FILE_MD5.items()}
    if all(p.is_file() and file_digest(p, "md5") == md5 for p, md5 in targets.items()):
        return out_dir
    archive = Path(from_zip) if from_zip else out_dir / "SST-2.zip"
    if not from_zip:
        try:
            download(url, archive, checksum=("md5", ARCHIVE_MD5))
        except InputError as error:
            raise InputError(
                f"{error} (without a network: fetch {url} elsewhere and add --from SST-2.zip)"
            ) from error
    contents = {path: _member(archive, path.name, md5) for path, md5 in targets.items()}
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        for path, data in contents.items():
            write_atomically(path, lambda part, data=data: part.write_bytes(data))
    except OSError as error:
        raise InputError(f"{out_dir}: cannot be written ({error}); give another folder") from error
    if not from_zip:
        archive.unlink()
    return out_dir


def _member(archive, name, md5):
    """The bytes of SST-2/<name> in the archive, verified."""
    try:
        with zipfile.ZipFile(archive) as file:
            data = file.read(f"SST-2/{name}")
    except (OSError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(
            f"{archive}: SST-2/{name} cannot be read from it ({error}); give the SST-2.zip of {URL}"
        ) from error
    found = hashlib.md5(data).hexdigest()
    if found != md5:
        raise InputError(
            f"{archive}: SST-2/{name} has the md5 {found}, not {md5}; give the SST-2.zip of {URL}"
        )
    return data
