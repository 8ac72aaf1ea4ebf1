"""The page is one file that loads nothing and runs nothing but its own script."""

import base64
import hashlib
import json
import re

import pytest
from tiny import make_run

from spikebert_np.analysis.explanation import explain
from spikebert_np.analysis.explanation_page import content_security_policy, explanation_page
from spikebert_np.data.tokenizer import load_tokenizer
from spikebert_np.training.checkpoint import load_run

HOSTILE = "</script><script>alert(1)</script><!-- <script> \u2028 '\"&"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    run = load_run(make_run(tmp_path_factory.mktemp("page")))
    tokenizer = load_tokenizer(run.directory / "tokenizer.json")
    found = explain(HOSTILE, tokenizer, run.params, run.config)
    return explanation_page(
        run.config, name=HOSTILE, classes=["class 0", "class 1"], head=1, explanation=found
    )


def element(page, opening):
    """What stands in the element that opens so, up to the first end of one."""
    name = re.match(r"<(\w+)", opening)[1]
    return page.partition(opening)[2].partition(f"</{name}")[0]


def test_no_sentence_ends_the_element_that_holds_it(page):
    data = json.loads(element(page, '<script type="application/json" id="data">'))
    assert data["explanation"]["sentence"] == data["model"]["name"] == HOSTILE
    assert (data["layer"], data["head"]) == (1, 1)
    assert page.count("<script") == 2
    assert "alert" not in page.replace(element(page, '<script type="application/json"'), "")


def test_it_loads_nothing(page):
    assert set(re.findall(r"\w+://[\w./]+", page)) == {"http://www.w3.org/2000/svg"}  # a name
    assert not re.search(r"\ssrc\s*=|@import|url\(|innerHTML|insertAdjacentHTML|eval\(", page)
    assert re.findall(r'<link[^>]*href="([^"]*)"', page) == ["data:,"]


def test_its_policy_allows_its_own_style_and_script_alone(page):
    policy = dict(part.split(" ", 1) for part in content_security_policy().split("; "))
    assert f'content="{content_security_policy()}"' in page
    assert policy["default-src"] == "'none'"
    for directive, opening in (("style-src", "<style>"), ("script-src", "<script>")):
        digest = hashlib.sha256(element(page, opening).encode()).digest()
        assert policy[directive] == f"'sha256-{base64.b64encode(digest).decode()}'"
