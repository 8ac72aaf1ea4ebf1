"""The course's site: what it is made from and, where its tools are installed, the site itself."""

import importlib.util
import json
import re
import subprocess
import sys
from html import unescape
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

import build
import pytest
from browser import MISSING, Browser

SCRIPT = build.HERE / "site" / "build.py"
PACKAGE = build.HERE.parent / "spikebert_np"
LEARNERS = sorted(build.HERE.glob("*.ipynb"))

spec = importlib.util.spec_from_file_location("site_build", SCRIPT)
site_build = importlib.util.module_from_spec(spec)
spec.loader.exec_module(site_build)


def test_every_chapter_and_every_file_gets_a_page(tmp_path):
    source = tmp_path / "source"
    site_build.stage(source)
    assert [path.name for path in sorted(source.glob("*.ipynb"))] == [p.name for p in LEARNERS]
    for folder in ("layers", "blocks", "models", "training", "checking"):
        files = {path.stem for path in (PACKAGE / folder).glob("*.py")}
        answers = {name for name in files if name.startswith("chapter_")}
        pages = {path.stem for path in (source / "api" / folder).glob("*.md")}
        assert pages == files - answers - {"__init__"}
        listing = (source / "api" / f"{folder}.md").read_text(encoding="utf-8")
        assert set(re.findall(rf"\({folder}/(\w+)\.md\)", listing)) == pages


def test_code_of_ours_is_folded_and_no_checker_speaks():
    for path in LEARNERS:
        assert "colab" not in site_build.for_readers(path).lower()
        for cell in json.loads(site_build.for_readers(path))["cells"]:
            source, tags = "".join(cell["source"]), cell["metadata"].get("tags")
            if cell["cell_type"] == "code":
                shows_ours = "getsource(" in source
                assert (tags == ["hide-output"]) == shows_ours
                assert (tags == ["remove-output"]) == ("checks.ex_" in source and not shows_ours)


# --- the site itself ----------------------------------------------------------------------------


class Page(HTMLParser):
    """The links, the addresses that are loaded, and the ids of a page."""

    def __init__(self, path):
        super().__init__()
        self.links, self.loaded, self.ids = [], [], set()
        self.text = path.read_text(encoding="utf-8")
        self.feed(self.text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.ids.add(attrs.get("id"))
        if tag == "a" and "href" in attrs:
            self.links.append(attrs["href"])
        elif address := attrs.get("src") or (tag == "link" and attrs.get("href")):
            self.loaded.append(address)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the site, built by its command, and {address in it: Page}."""
    needs_the_tools()
    folder = tmp_path_factory.mktemp("site")
    html = folder / "html"
    done = subprocess.run(
        [sys.executable, SCRIPT, folder], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # _static holds the theme's templates too.
    pages = [path for path in html.rglob("*.html") if "_static" not in path.parts]
    return html, {str(path.relative_to(html)): Page(path) for path in pages}


def needs_the_tools():
    for module in ("sphinx", "myst_nb", "sphinx_book_theme", "math_core", "ziamath"):
        pytest.importorskip(module, reason="the site's tools: pip install -e '.[site]'")


@pytest.mark.slow
def test_every_link_leads_somewhere_and_nothing_is_loaded_from_elsewhere(site):
    html, pages = site
    for name, page in pages.items():
        for address in page.links + page.loaded:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                assert address not in page.loaded, f"{name} loads {address}"
                continue
            target = (html / name).parent / unquote(parts.path) if parts.path else html / name
            assert target.exists(), f"{name}: {address}"
            there = str(target.resolve().relative_to(html.resolve()))
            if parts.fragment and there in pages:
                assert unquote(parts.fragment) in pages[there].ids, f"{name}: {address}"


@pytest.mark.slow
def test_a_chapter_shows_its_formulas_and_figures_and_no_solution(site):
    for path in LEARNERS:
        text = site[1][f"{path.stem}.html"].text
        source = path.read_text(encoding="utf-8")
        assert ("<math" in text) == ("$" in source)
        assert ('<img alt="_images/' in text) == ("plots." in source)
        assert "UNSOLVED" not in text
        in_view = squeezed(plain(re.sub(r"<details.*?</details>", "", text, flags=re.S)))
        for cell in build.read_cells(build.HERE / "src" / f"{path.stem}.py"):
            solution = squeezed(cell.solution)
            assert len(solution) < build.TELLING or solution not in in_view, cell.exercise


def squeezed(text):
    return " ".join(text.split())


def plain(html):
    return unescape(re.sub(r"<[^>]*>", "", html))


@pytest.mark.slow
def test_the_reference_holds_what_a_docstring_says(site):
    text = plain(site[1]["api/layers/lif.html"].text)
    assert "Backpropagation through time: dx (T, N, D) from ds (T, N, D)." in text
    assert "V[t] = S[t] v_reset + (1 - S[t]) H[t]                 (hard)" in text
    assert "<th" in site[1]["api/layers/surrogate.html"].text  # a table in a docstring


@pytest.mark.slow
@pytest.mark.skipif(bool(MISSING), reason=MISSING)
def test_a_page_fits_a_desk_and_a_phone(site, tmp_path):
    html, pages = site
    with Browser(tmp_path) as browser:
        written = [name for name in pages if not name.startswith("_modules/")]
        chapters = [f"{path.stem}.html" for path in LEARNERS]
        for width, names in ((390, written), (1280, chapters)):
            browser.resize(width, 900)
            for name in names:
                browser.open((html / name).as_uri())
                assert browser.run("document.documentElement.scrollWidth <= innerWidth"), name
        browser.open((html / "02_lif.html").as_uri())
        assert browser.wait("document.fonts.check('16px \"STIX Two Math\"')")
        hint = "document.querySelector('article details p').checkVisibility()"
        assert not browser.run(hint)
        browser.click("article details summary")
        assert browser.run(hint)


@pytest.mark.slow
def test_what_is_broken_fails_the_build(tmp_path):
    needs_the_tools()
    source = tmp_path / "source"
    source.mkdir()
    text = "# A title\n\n[a page](gone.md)\n\n$\\nosuch$\n\n```{toctree}\n20_x\n```\n"
    (source / "index.md").write_text(text, encoding="utf-8")
    cells = [build.Cell("markdown", "# A chapter\n", 1), build.Cell("code", "1 / 0\n", 3)]
    (source / "20_x.ipynb").write_text(build.notebook(cells, solved=False), encoding="utf-8")
    code = f"import build, pathlib, sys; sys.exit(build.build(pathlib.Path({str(tmp_path)!r})))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=SCRIPT.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    for fault in ("gone.md", "nosuch", "ZeroDivisionError"):
        assert fault in done.stderr
