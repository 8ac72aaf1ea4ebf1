"""Sphinx's settings; `build.py` says how the site is made."""

import re
from importlib.resources import files

from docutils.nodes import SkipNode
from docutils.utils import new_document
from math_core import LatexError, LatexToMathML
from myst_parser.parsers.sphinx_ import MystParser
from sphinx.util.docutils import SphinxDirective
from sphinx.util.logging import getLogger

project = "spikebert_np"
html_title = "spikebert_np"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]

nb_execution_mode = "force"
nb_execution_show_tb = True  # of a cell that raises: a warning, which fails the build
nb_execution_timeout = 120  # seconds a cell
nb_code_prompt_show = "The output, with code of ours: try the exercise first"
nb_code_prompt_hide = "The output, with code of ours"
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
add_module_names = False
smartquotes = False  # a docstring's "hard" is to be typed

html_theme = "sphinx_book_theme"
html_theme_options = {
    "show_toc_level": 2,
    "home_page_in_toc": True,
    "navbar_persistent": [],
    "footer_content_items": [],
}
# ziamath is there for this font alone: many a machine has none that can set a formula.
html_static_path = ["site.css", str(files("ziamath") / "fonts" / "STIXTwoMath-Regular.ttf")]
html_css_files = ["site.css"]
html_math_renderer = "mathml"
html_use_index = html_domain_indices = False  # the search finds every name


# --- formulas: MathML, which a browser sets without a script or a network -------------------------

LATEX = LatexToMathML()


def formula(node, *, displaystyle):
    try:
        return LATEX.convert_with_local_state(node.astext(), displaystyle=displaystyle)
    except LatexError as error:
        getLogger(__name__).warning("%s: %s", node.astext(), error, location=node)
        return ""


def visit_inline(writer, node):
    writer.body.append(formula(node, displaystyle=False))
    raise SkipNode


def visit_display(writer, node):
    writer.body.append(f'<div class="formula">{formula(node, displaystyle=True)}</div>\n')
    raise SkipNode


# --- docstrings: plain text that reads as Markdown, formulas and tables indented or in `|` --------


class Markdown(SphinxDirective):
    """Parses its content as MyST."""

    has_content = True

    def run(self):
        document = new_document(self.env.doc2path(self.env.docname), self.state.document.settings)
        MystParser().parse("\n".join(self.content), document)
        return document.children


def as_markdown(app, what, name, obj, options, lines):
    """Hand a docstring to the directive above, each described argument on a line of its own."""
    text = re.sub(r"\n(?=\w+(, \w+)*: )", "  \n", "\n".join(lines))
    lines[:] = [".. markdown::", "", *(f"   {line}" for line in text.splitlines())]


def skip_field(app, what, name, obj, skip, options):
    """A NamedTuple's fields stand in its signature; "Alias for field number 0" says no more."""
    return True if type(obj).__name__ == "_tuplegetter" else None


def setup(app):
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_display, None))
    app.add_directive("markdown", Markdown)
    app.connect("autodoc-process-docstring", as_markdown)
    app.connect("autodoc-skip-member", skip_field)
