"""`spikebert explain`, and the server of `spikebert explore`."""

import http.client
import json
import socket
import subprocess
import sys
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from signal import SIG_DFL, SIGINT, signal

import pytest
from tiny import last_json, make_run

from spikebert_np.cli import main
from spikebert_np.commands.explore import explore_server
from spikebert_np.commands.explore_server import MOST_BYTES, ExploreServer
from spikebert_np.models.spikebert import spikebert_forward

SENTENCE = "the plot is not good"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("explain"))


# --- explain ------------------------------------------------------------------------------------


def test_explain_agrees_with_predict(run, capsys):
    assert main(["predict", "--run", str(run), SENTENCE, "--json"]) == 0
    predicted = last_json(capsys.readouterr().out)
    assert main(["explain", "--run", str(run), SENTENCE, "--layer", "0", "--json"]) == 0
    out = capsys.readouterr().out
    assert "attention of blocks.0, all heads" in out
    record = last_json(out)
    assert record["answer"] == predicted["labels"][0]
    assert record["probabilities"] == pytest.approx(predicted["probabilities"][0], rel=1e-5)


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("good \ud83d", "good \ufffd"),  # half a character, as Windows may hand it on
        ("caf\udce9", "caf\xe9"),  # a byte of Latin-1
        ("\u2028 </script> \U0001f600", "\u2028 </script> \U0001f600"),
    ],
)
def test_odd_letters_of_the_command_line(run, given, read, capsys):
    assert main(["explain", "--run", str(run), given, "--json"]) == 0
    assert last_json(capsys.readouterr().out)["sentence"] == read


def test_a_map_too_wide_for_the_terminal_is_not_drawn(run, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "20")
    assert main(["explain", "--run", str(run), SENTENCE]) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith("give --out FILE.html")


def test_a_page_and_a_picture(run, tmp_path, capsys):
    for name, begins in (("a.html", b"<!doctype html>"), ("a.png", b"\x89PNG")):
        out = tmp_path / name
        flags = ["--layer", "0", "--head", "1", "--out", str(out)]
        assert main(["explain", "--run", str(run), SENTENCE, *flags]) == 0
        assert out.read_bytes().startswith(begins)
        assert capsys.readouterr().out.splitlines()[-1] == f"written  {out}"
    assert len(list(tmp_path.iterdir())) == 2


def test_letters_that_the_picture_lacks_are_told_once(run, tmp_path, capsys):
    out = str(tmp_path / "a.png")
    assert main(["explain", "--run", str(run), "\u7535\u5f71 film", "--out", out]) == 0
    assert capsys.readouterr().out.splitlines()[-2].startswith("the picture's font lacks letters")


def test_a_student_without_attention(tmp_path, capsys):
    run = str(make_run(tmp_path, attention=False))
    assert main(["explain", "--run", run, SENTENCE]) == 0
    assert "attention" not in capsys.readouterr().out
    assert main(["explain", "--run", run, SENTENCE, "--out", str(tmp_path / "a.png")]) == 0
    assert main(["explain", "--run", run, SENTENCE, "--head", "0"]) == 2
    assert "has no attention" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--layer", "2"], "--layer 2: choose from 0 to 1"),
        (["--head", "2"], "--head 2: choose from 0 to 1"),
        (["--out", "a.txt"], "--out a.txt: end it in .html or .png"),
        (["--out", "."], "--out .: end it in .html or .png"),
        (["--out", "nowhere/a.html"], "--out nowhere/a.html: there is no folder nowhere; make it"),
        (["--out", "folder.png"], "--out folder.png: is not a file; name another"),
    ],
)
def test_what_will_not_do_is_refused(run, flags, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.png").mkdir()
    assert main(["explain", "--run", str(run), SENTENCE, *flags]) == 2
    out, err = capsys.readouterr()
    assert message in err
    assert out == ""  # before any work


def test_a_run_where_the_sentence_should_be_is_refused(run, capsys):
    assert main(["explain", str(run)]) == 2
    assert "put --run in front of it" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["explain", "explore"])
def test_of_one_class_there_is_nothing_to_explain(tmp_path, command, capsys):
    run = str(make_run(tmp_path, classes=1))
    arguments = ["--run", run, SENTENCE] if command == "explain" else [run]
    assert main([command, *arguments]) == 2
    assert "knows one class alone" in capsys.readouterr().err


# --- explore ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(run):
    with explore_server(run, 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(server, method="POST", path="/explain", body=b"", **headers):
    """Status, headers and body of the answer to one request."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def explained(server, sentence, steps=4, threshold=1.0):
    """The status and the JSON of the answer to one sentence."""
    request = {"sentence": sentence, "steps": steps, "threshold": threshold}
    body = json.dumps(request).encode()
    status, _, answer = ask(server, body=body, Content_Type="application/json")
    return status, json.loads(answer)


def test_the_page_is_served_with_its_guards(server):
    with urllib.request.urlopen(server.url) as response:
        assert response.read().startswith(b"<!doctype html>")
        policy = response.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'")
        assert "frame-ancestors 'none'" in policy
        assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert server.server_address[0] == "127.0.0.1"


def test_a_sentence_is_answered_as_explain_does(server, run, capsys):
    status, answer = explained(server, SENTENCE)
    assert status == 200
    assert main(["explain", "--run", str(run), SENTENCE, "--json"]) == 0
    assert answer == last_json(capsys.readouterr().out)


def test_steps_and_threshold_are_those_asked_for(server):
    status, answer = explained(server, SENTENCE, 7, 0.6)
    assert (status, answer["steps"], answer["threshold"]) == (200, 7, 0.6)
    trained = explained(server, SENTENCE)[1]
    assert answer["firing_rate"] > 1.2 * trained["firing_rate"]
    assert explained(server, SENTENCE, threshold=100)[1]["firing_rate"] == 0


@pytest.mark.parametrize(
    "sentence",
    ["", " \n\t", "x" * 10_000, "\U0001f600" * 5000, "<b>&amp;</b></script>", "\0\x1b[31m"],
)
def test_odd_sentences_are_answered(server, sentence):
    status, answer = explained(server, sentence)
    assert (status, answer["sentence"]) == (200, sentence)


def test_half_a_character_is_replaced(server):
    status, answer = explained(server, "good \ud83d")
    assert (status, answer["sentence"]) == (200, "good \ufffd")


def test_twenty_at_once_are_answered_each_its_own(server):
    sentences = [f"the {'warm ' * i}film is good" for i in range(20)]
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda sentence: explained(server, sentence), sentences))
    assert [status for status, _ in answers] == [200] * 20
    assert [answer["sentence"] for _, answer in answers] == sentences
    assert [answer for _, answer in answers] == [explained(server, s)[1] for s in sentences]


@pytest.mark.parametrize(
    "request_",
    [
        [],
        None,
        {"sentence": 1, "steps": 4, "threshold": 1.0},
        {"sentence": "a", "steps": 0, "threshold": 1.0},
        {"sentence": "a", "steps": True, "threshold": 1.0},
        {"sentence": "a", "steps": 4.0, "threshold": 1.0},
        {"sentence": "a", "steps": 10**6, "threshold": 1.0},
        {"sentence": "a", "steps": 4, "threshold": 0},
        {"sentence": "a", "steps": 4, "threshold": float("nan")},
        {"sentence": "a", "steps": 4, "threshold": 10**400},
        {"sentence": "a", "steps": 4},
    ],
)
def test_other_requests_are_refused_in_a_sentence(server, request_):
    body = json.dumps(request_).encode()
    status, _, answer = ask(server, body=body, Content_Type="application/json")
    assert status == 400
    assert json.loads(answer)["error"]


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000, b"9" * 5000])
def test_what_is_no_json_is_refused(server, body):
    assert ask(server, body=body, Content_Type="application/json")[0] == 400


def test_only_two_paths_and_their_methods(server):
    assert ask(server, "GET", "/../setup.py")[0] == 404
    assert ask(server, "GET", "/explain")[0] == 404
    assert ask(server, "POST", "/", b"{}", Content_Type="application/json")[0] == 404
    assert ask(server, "OPTIONS", "/explain")[0] == 501
    assert ask(server, "PUT", "/explain", b"{}")[0] == 501


def test_another_name_for_this_machine_is_refused(server):
    port = server.server_port
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1:1", f"127.0.0.1:{port}.x"):
        assert ask(server, "GET", "/", Host=host)[0] == 403
        assert ask(server, Host=host, Content_Type="application/json")[0] == 403
    assert ask(server, "GET", "/", Host=f"localhost:{port}")[0] == 200


def test_on_port_80_a_browser_names_no_port(monkeypatch):
    monkeypatch.setattr(ExploreServer, "server_bind", lambda self: setattr(self, "server_port", 80))
    monkeypatch.setattr(ExploreServer, "server_activate", lambda self: None)
    with ExploreServer(80, "", "", None) as server:
        assert server.hosts == {"127.0.0.1", "localhost"}


def test_what_a_form_of_another_site_can_send_is_refused(server):
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        assert ask(server, body=b"{}", Content_Type=content_type)[0] == 415
    headers = ask(server, "OPTIONS", "/explain", Origin="http://evil.example")[1]
    assert not headers["Access-Control-Allow-Origin"]


@pytest.mark.parametrize(
    ("length", "status"),
    [(str(MOST_BYTES + 1), 413), ("9" * 5000, 413), ("-1", 411), ("many", 411), ("\u0663", 411)],
)
def test_the_size_of_a_request_has_a_limit(server, length, status):
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=60) as connection:
        head = (
            f"POST /explain HTTP/1.1\r\nHost: 127.0.0.1:{server.server_port}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        )
        connection.sendall(head.encode())
        with connection.makefile("rb") as answer:
            assert answer.readline().split()[1] == str(status).encode()
            assert answer.read().endswith(b"}")  # and the connection is closed


@pytest.mark.parametrize(
    ("error", "told"),
    [(BrokenPipeError, False), (ConnectionResetError, False), (ZeroDivisionError, True)],
)
def test_who_leaves_before_the_answer_is_no_error(server, error, told, capsys):
    try:
        raise error
    except error:
        server.handle_error(None, ("127.0.0.1", 1))
    assert ("Traceback" in capsys.readouterr().err) is told


def test_a_port_that_is_taken_or_is_none(server, run, capsys):
    for port in (server.server_port, 70_000):
        assert main(["explore", str(run), "--port", str(port), "--no-browser"]) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"spikebert: --port {port}: cannot listen on 127.0.0.1:{port}")
        assert "or 0 for one that is free" in error
    assert main(["explore", str(run / "nothing"), "--no-browser"]) == 2
    assert "not a run folder" in capsys.readouterr().err


def test_ctrl_c_ends_it(run):
    command = [sys.executable, "-m", "spikebert_np", "explore", str(run), "--port", "0"]
    process = subprocess.Popen(
        [*command, "--no-browser"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Tests that run in a shell's background have it ignored, and hand that on.
        preexec_fn=lambda: signal(SIGINT, SIG_DFL),
    )
    try:
        url = process.stdout.readline().split()[0]
        with urllib.request.urlopen(url) as response:
            assert response.status == 200
        process.send_signal(SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, out) == (0, "\nended\n")
    assert "Traceback" not in err


@pytest.fixture
def passes(monkeypatch):
    """Each forward pass of an explanation, in a list. From the eleventh on they set `at_work` and
    wait for `go_on`."""
    passes = []

    def forward(*args, **settings):
        passes.append(args)
        if len(passes) > 10:
            at_work.set()
            go_on.wait(60)
        return spikebert_forward(*args, **settings)

    at_work, go_on = threading.Event(), threading.Event()
    monkeypatch.setattr("spikebert_np.analysis.explanation.spikebert_forward", forward)
    yield passes, at_work, go_on
    go_on.set()


LONG = "good " * 200  # 129 passes


def test_work_stops_with_the_server(run, passes, capsys):
    passes, at_work, go_on = passes
    with ThreadPoolExecutor(2) as pool:
        with explore_server(run, 0) as server:
            pool.submit(server.serve_forever)
            answer = pool.submit(explained, server, LONG)
            assert at_work.wait(60)
            server.shutdown()
        go_on.set()
        with pytest.raises(http.client.RemoteDisconnected):
            answer.result()
    assert len(passes) < 100
    assert capsys.readouterr().err == ""


def test_work_stops_where_nobody_waits_for_it(server, passes, capsys):
    passes, at_work, go_on = passes
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    request = json.dumps({"sentence": LONG, "steps": 4, "threshold": 1.0})
    connection.request("POST", "/explain", request, {"Content-Type": "application/json"})
    assert at_work.wait(60)
    connection.close()
    go_on.set()
    assert explained(server, LONG)[0] == 200
    assert 129 < len(passes) < 200
    assert capsys.readouterr().err == ""


def test_the_browser_is_opened_unless_one_asks_not_to(run, monkeypatch, capsys):
    opened = threading.Event()
    monkeypatch.setattr("webbrowser.open", lambda url: opened.set())

    def serve(self):
        assert self.url in capsys.readouterr().out
        raise KeyboardInterrupt

    monkeypatch.setattr(ExploreServer, "serve_forever", serve)
    assert main(["explore", str(run), "--port", "0", "--no-browser"]) == 0
    assert not opened.is_set()
    assert main(["explore", str(run), "--port", "0"]) == 0
    assert opened.wait(10)
