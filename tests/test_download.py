"""download(): every case runs against a server on the loopback interface."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import numpy as np
import pytest

from spikebert_np.data.download import download, file_digest
from spikebert_np.errors import InputError

CONTENT = np.random.default_rng(0).bytes(700_000)
SHA256 = ("sha256", hashlib.sha256(CONTENT).hexdigest())


@pytest.fixture
def server():
    """A file server whose behaviour a test sets by attributes; `seen` lists (Range, status)."""
    state = SimpleNamespace(
        content=CONTENT, etag='"v1"', ranges=True, if_range=True, cut_after=None, seen=[]
    )

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            wanted = self.headers.get("Range")
            condition = self.headers.get("If-Range")
            if self.path != "/file.bin":
                return self.answer(404, b"")
            stale = state.if_range and condition is not None and condition != state.etag
            if not wanted or not state.ranges or stale:
                return self.answer(200, state.content)
            start, size = int(wanted.removeprefix("bytes=").rstrip("-")), len(state.content)
            if start >= size:
                return self.answer(416, b"", f"bytes */{size}")
            return self.answer(206, state.content[start:], f"bytes {start}-{size - 1}/{size}")

        def answer(self, status, body, content_range=None):
            state.seen.append((self.headers.get("Range"), status))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            if state.etag:
                self.send_header("ETag", state.etag)
            if content_range:
                self.send_header("Content-Range", content_range)
            self.end_headers()
            self.wfile.write(body[: state.cut_after])

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True).start()
        state.url = f"http://127.0.0.1:{httpd.server_port}/file.bin"
        yield state
        httpd.shutdown()


def cut_download(server, destination, **settings):
    """Leave a part of 300,000 bytes behind, as a broken connection does."""
    server.cut_after = 300_000
    with pytest.raises(InputError, match=r"300,000 of 700,000 bytes.*resumes"):
        download(server.url, destination, **settings)
    server.cut_after = None
    assert not destination.exists()


def assert_only_file(destination, content=CONTENT):
    assert destination.read_bytes() == content
    assert list(destination.parent.iterdir()) == [destination]


def test_plain_download_and_no_second_one(server, tmp_path):
    destination = tmp_path / "new" / "file.bin"
    assert download(server.url, destination, checksum=SHA256) == destination
    assert_only_file(destination)
    download(server.url, destination, checksum=SHA256)
    assert server.seen == [(None, 200)]
    assert file_digest(destination, "md5") == hashlib.md5(CONTENT).hexdigest()


@pytest.mark.parametrize(("etag", "checksum"), [('"v1"', None), ("", SHA256), ('W/"v1"', SHA256)])
def test_cut_connection_resumes(server, tmp_path, etag, checksum):
    server.etag = etag
    destination = tmp_path / "file.bin"
    cut_download(server, destination, checksum=checksum)
    download(server.url, destination, checksum=checksum)
    assert server.seen[-1] == ("bytes=300000-", 206)
    assert_only_file(destination)


@pytest.mark.parametrize("etag", ["", 'W/"v1"'])
def test_nothing_vouches_for_the_part_so_it_restarts(server, tmp_path, etag):
    server.etag = etag
    destination = tmp_path / "file.bin"
    cut_download(server, destination)
    download(server.url, destination)
    assert server.seen[-1] == (None, 200)
    assert_only_file(destination)


def test_ignored_range_restarts(server, tmp_path):
    destination = tmp_path / "file.bin"
    cut_download(server, destination)
    server.ranges = False
    download(server.url, destination)
    assert server.seen[-1] == ("bytes=300000-", 200)
    assert_only_file(destination)


@pytest.mark.parametrize("if_range", [True, False])
def test_changed_remote_file_restarts(server, tmp_path, if_range):
    destination = tmp_path / "file.bin"
    cut_download(server, destination)
    server.content, server.etag, server.if_range = CONTENT[::-1], '"v2"', if_range
    download(server.url, destination)
    assert_only_file(destination, CONTENT[::-1])
    # With If-Range the server sends the new file at once; without, it takes a second request.
    assert [status for _, status in server.seen[1:]] == ([200] if if_range else [206, 200])


@pytest.mark.parametrize("extra", [b"", b"too long"])
def test_unsatisfiable_range(server, tmp_path, extra):
    """416: a whole part is taken as it is, one that is longer than the file is dropped."""
    destination = tmp_path / "file.bin"
    (tmp_path / "file.bin.part").write_bytes(CONTENT + extra)
    (tmp_path / "file.bin.part.etag").write_text(server.etag)
    download(server.url, destination)
    assert server.seen[0][1] == 416
    assert len(server.seen) == (2 if extra else 1)
    assert_only_file(destination)


def test_wrong_checksum_leaves_nothing(server, tmp_path):
    destination = tmp_path / "file.bin"
    with pytest.raises(InputError, match="md5"):
        download(server.url, destination, checksum=("md5", "0" * 32))
    assert list(tmp_path.iterdir()) == []


def test_addresses_that_give_no_file(server, tmp_path):
    destination = tmp_path / "file.bin"
    with pytest.raises(InputError, match="404"):
        download(server.url + ".gone", destination)
    with pytest.raises(InputError, match="resumes"):
        download("http://127.0.0.1:9/file.bin", destination)
    with pytest.raises(InputError, match="http://"):
        download("/etc/hostname", destination)
    assert list(tmp_path.iterdir()) == []
