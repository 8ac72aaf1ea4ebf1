"""Download a file over http(s): resumed where it stopped, verified, never half-written."""

import hashlib
import http.client
import os
import urllib.error
import urllib.request
from pathlib import Path

from .. import __version__
from ..errors import InputError

CHUNK_BYTES = 1 << 18
TIMEOUT_SECONDS = 60


def file_digest(path, algorithm):
    """The hexadecimal digest of a file, read in pieces; `algorithm` is "md5", "sha256", ..."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def download(url, destination, *, checksum=None):
    """Fetch `url` into the file `destination` and return its path.

    checksum: ("md5" | "sha256", hexadecimal digest) or None. A destination that has this checksum
    already is returned untouched; without a checksum it is fetched again and replaced.

    The bytes go to `<destination>.part`, which stays when the connection breaks: the next call
    asks the server for the rest only (Range), on the condition that the file has not changed there
    (If-Range with the ETag kept in `<destination>.part.etag`). Without an ETag the rest is asked
    for only where a checksum will judge the whole. The part is renamed once it is complete and
    verified.

    Raises InputError for an address that does not answer with the file, for a connection that
    breaks (the same command resumes) and for a wrong checksum (the part is removed).
    """
    destination = Path(destination)
    if not url.startswith(("http://", "https://")):
        raise InputError(f"{url}: not an address that starts with http:// or https://")
    if checksum and destination.is_file() and file_digest(destination, checksum[0]) == checksum[1]:
        return destination
    part = destination.with_name(destination.name + ".part")
    etag_file = part.with_name(part.name + ".etag")
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        _fetch(url, part, etag_file, has_checksum=checksum is not None)
    except urllib.error.HTTPError as error:
        remedy = "try again later" if error.code in (429, *range(500, 600)) else "check the address"
        raise InputError(
            f"{url}: the server answered {error.code} {error.reason}; {remedy}"
        ) from error
    except (OSError, http.client.HTTPException, UnicodeError) as error:
        reason = getattr(error, "reason", None) or error
        raise InputError(
            f"{url}: the download to {destination} stopped ({reason}); "
            "the same command, run again, resumes it"
        ) from error
    if checksum:
        algorithm, expected = checksum
        found = file_digest(part, algorithm)
        if found != expected:
            part.unlink()
            etag_file.unlink(missing_ok=True)
            raise InputError(
                f"{url}: the downloaded file has the {algorithm} {found}, not {expected}, and was "
                "removed; run the same command again, and if this repeats, the published file is "
                "not the one that is expected here"
            )
    os.replace(part, destination)
    etag_file.unlink(missing_ok=True)
    return destination


def _fetch(url, part, etag_file, *, has_checksum):
    """Complete `part`, from where it ends if the server can, from the start if not."""
    etag = etag_file.read_text(encoding="latin-1") if etag_file.is_file() else ""
    offset = part.stat().st_size if part.is_file() and (etag or has_checksum) else 0
    request = urllib.request.Request(url, headers={"User-Agent": f"spikebert_np/{__version__}"})
    if offset:
        request.add_header("Range", f"bytes={offset}-")
        if etag:
            request.add_header("If-Range", etag)
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        # 416: the server has nothing from `offset` on. Either the part is whole, or it is wrong.
        if error.code != 416 or not offset:
            raise
        if error.headers.get("Content-Range") != f"bytes */{offset}":
            part.unlink()
            _fetch(url, part, etag_file, has_checksum=has_checksum)
        return
    with response:
        if response.status == 206 and not _continues(response.headers, offset, etag):
            part.unlink()
            _fetch(url, part, etag_file, has_checksum=has_checksum)
            return
        if response.status != 206:  # a server without Range, or a changed file: all of it comes
            offset = 0
        _append(response, part, etag_file, offset)


def _continues(headers, offset, etag):
    """Whether a partial answer starts at `offset` of the very file that `etag` names."""
    starts_there = headers.get("Content-Range", "").startswith(f"bytes {offset}-")
    return starts_there and (not etag or headers.get("ETag", etag) == etag)


def _append(response, part, etag_file, offset):
    """Write the answer's body to `part` from byte `offset` on, under a progress bar."""
    from tqdm import tqdm

    length = response.headers.get("Content-Length")
    total = offset + int(length) if length else None
    with (
        open(part, "ab" if offset else "wb") as file,
        tqdm(
            desc=part.stem, initial=offset, total=total, unit="B", unit_scale=True, mininterval=0.5
        ) as bar,
    ):
        if not offset:
            # Only now, with the old part emptied: an ETag must never stand beside another's bytes.
            # A weak one (W/"...") does not promise equal bytes, so If-Range must not carry it.
            etag = response.headers.get("ETag", "")
            etag_file.write_text("" if etag.startswith("W/") else etag, encoding="latin-1")
        while chunk := response.read(CHUNK_BYTES):
            file.write(chunk)
            bar.update(len(chunk))
        size = file.tell()
    # A connection cut within a known length reads like an end of file.
    if total is not None and size != total:
        raise ConnectionError(f"the connection ended after {size:,} of {total:,} bytes")
