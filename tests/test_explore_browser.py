"""The page of `spikebert explore` and of `explain --out`, in a real browser."""

import re
import threading
import time

import pytest
from browser import MISSING, Browser

from spikebert_np.cli import main
from spikebert_np.commands.explore import explore_server

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(MISSING), reason=MISSING)]

SENTENCE = "the plot is not good"
HTML = "a <b id=bold>bold</b> <img src=x onerror=alert(1)> \U0001f600 film"
# The answer in panel 0 or 1, once the page has done with reading; else something false.
DONE = """((panel, text = (selector) => panel.querySelector(selector).innerText) =>
    panel.querySelector('.result').getAttribute('aria-busy') === 'false'
    && text('.status').includes('tokens') && text('.answer')
)(document.querySelectorAll('.panel')[arguments[0]])"""
TOKENS = "[...document.querySelectorAll('.parts th')].map(th => th.innerText)"


@pytest.fixture(scope="module")
def url():
    """The shipped student, served."""
    with explore_server(None, 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.url
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture
def page(browser, url):
    """The page, just opened, in a wide window; nothing may be on the console in the end."""
    browser.resize(1400, 900)
    browser.open(url)
    yield browser
    assert browser.complaints() == []


def overflows(browser):
    """Whether one would have to scroll the page sideways."""
    return browser.run("document.documentElement.scrollWidth > innerWidth")


def test_type_wait_and_read(page, tmp_path):
    assert page.run("document.activeElement.id") == "sentence-0"
    assert page.run("document.querySelector('.result').hidden")
    page.screenshot(tmp_path / "before.png")
    page.press(*SENTENCE)
    assert page.wait(DONE, 0) == "0 (negative)"
    assert page.run(TOKENS) == ["[CLS]", *SENTENCE.split(), "[SEP]"]
    facts = page.text(".facts")
    assert "T = 4 time steps, threshold 1" in facts
    assert re.search(
        r"Theoretical energy\s+literature 0\.\d+, strict 0\.\d+, with memory 0\.\d+ mJ", facts
    )
    # The sentence is blame by its "not", and says so.
    deciding = page.run("[...document.querySelectorAll('.decides')].map(row => row.innerText)")
    assert len(deciding) == 1
    assert deciding[0].split()[0] == "not"
    assert deciding[0].endswith("→ 1 (positive)")
    page.screenshot(tmp_path / "after.png")
    assert (tmp_path / "after.png").stat().st_size > (tmp_path / "before.png").stat().st_size


def test_two_sentences_side_by_side_on_one_scale(page):
    page.type("#sentence-0", SENTENCE)
    page.type("#sentence-1", "the plot is good")
    assert (page.wait(DONE, 0), page.wait(DONE, 1)) == ("0 (negative)", "1 (positive)")
    tops = "[...document.querySelectorAll('.rates .legend')].map(legend => legend.innerText)"
    assert len(page.run(tops)) == 2
    assert len(set(page.run(tops))) == 1
    left, right = page.run("[...document.querySelectorAll('.panel')].map(p => p.offsetLeft)")
    assert left < right
    heights = page.run("[...document.querySelectorAll('.attention')].map(map => map.offsetTop)")
    assert len(heights) == 2
    assert heights[0] == heights[1]


def test_the_keyboard_alone_will_do(page):
    page.press(*"a gripping film", "Enter")
    page.wait(DONE, 0)
    assert page.run("document.activeElement.value") == "a gripping film"  # and no new line
    page.run("document.querySelector('#steps').focus()")
    page.press("Right", "Right", "Right")
    page.press("Tab", "Right", "Right")
    assert page.text("#trained").startswith("Trained with T = 4 and threshold 1. You read it with")
    page.wait(
        "document.querySelector('.facts').innerText.includes('T = 7 time steps, threshold 1.1')"
    )
    page.press("Tab", "Enter")
    assert page.text("#trained") == "Trained with T = 4 and threshold 1."
    page.wait(
        "document.querySelector('.facts').innerText.includes('T = 4 time steps, threshold 1\\n')"
    )
    page.press("Tab", "Tab", "Down")
    assert page.text(".attention h2") == "Attention of blocks.1, head 0"
    page.press("Tab", "Tab", "Tab", "Right", "Right", "Down")
    assert page.run("document.activeElement.parentElement.className") == "rates"
    assert page.text(".rates .readout").startswith("a, blocks.0.ssa.q: ")


def test_odd_input_is_shown_as_it_is(page):
    page.type("#sentence-0", HTML)
    page.wait(DONE, 0)
    assert {"<", "bold", "[UNK]"} <= set(page.run(TOKENS))
    assert page.run("document.querySelector('#bold, img')") is None
    page.type("#sentence-0", ("it is a good film , " * 500))
    page.wait("document.querySelector('.status').innerText.includes('Cut: the student takes 128')")
    assert len(page.run(TOKENS)) == 128
    assert not overflows(page)
    page.type("#sentence-0", "  ")
    page.wait("document.querySelector('.status').innerText.startsWith('Type a sentence')")
    assert page.run("document.querySelector('.result').hidden")
    assert page.text(".answer") == ""


def test_the_last_sentence_counts_though_an_earlier_answer_comes_later(page):
    page.run(
        "((ask) => window.fetch = (url, options) =>"
        " new Promise((done) => setTimeout(done, options.body.includes('bad') ? 1000 : 0))"
        " .then(() => ask(url, options)))(window.fetch) && 1"
    )
    page.type("#sentence-0", "it is bad")
    page.press("Enter")
    page.type("#sentence-0", SENTENCE)
    page.press("Enter")
    page.wait(f"{TOKENS}.join(' ') === arguments[0]", f"[CLS] {SENTENCE} [SEP]")
    time.sleep(1.5)
    assert page.run(TOKENS) == ["[CLS]", *SENTENCE.split(), "[SEP]"]


def test_a_server_that_is_gone_is_named(page):
    page.run("(window.fetch = () => Promise.reject(new TypeError()), 1)")
    page.type("#sentence-0", SENTENCE)
    page.wait("document.querySelector('.status').innerText.startsWith('No answer')")
    assert page.run("document.querySelector('.result').hidden")


def test_a_narrow_window(page, tmp_path):
    page.resize(390, 844)
    page.type("#sentence-0", SENTENCE)
    page.type("#sentence-1", "it is a gripping , warm and uncommonly funny film")
    page.wait(DONE, 0)
    page.wait(DONE, 1)
    assert not overflows(page)
    above, below = page.run("[...document.querySelectorAll('.panel')].map(p => p.offsetTop)")
    assert above < below
    # Each map is as wide as its window lets it be, and no wider: nothing to scroll in it either.
    widths = "[...document.querySelectorAll('.scroll')].map(s => s.scrollWidth - s.clientWidth)"
    assert max(page.run(widths)) <= 0
    page.screenshot(tmp_path / "narrow.png")


def test_the_file_of_explain_needs_no_server(browser, tmp_path, capsys):
    out = tmp_path / "page.html"
    assert main(["explain", HTML, "--layer", "0", "--head", "2", "--out", str(out)]) == 0
    answer = capsys.readouterr().out.split()[1]
    browser.resize(1000, 900)
    browser.open(out.as_uri())
    assert browser.text(".answer").split()[0] == answer
    assert browser.run("document.querySelector('textarea').value") == HTML
    assert browser.run("document.querySelector('textarea').readOnly")
    assert browser.text(".attention h2") == "Attention of blocks.0, head 2"
    assert browser.run("document.querySelector('#inference').offsetHeight") == 0
    assert browser.run("document.querySelectorAll('.panel').length") == 1
    browser.screenshot(tmp_path / "file.png")
    assert browser.complaints() == []
