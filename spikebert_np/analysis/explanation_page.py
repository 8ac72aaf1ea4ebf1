"""One self-contained HTML page of an Explanation, and of a server that makes others.

Its text, style and script lie in `web/`. All are put into one file that loads nothing, and its
Content-Security-Policy lets run what stands there and nothing else, whatever a sentence holds.
"""

import base64
import hashlib
import json
from importlib.resources import files
from string import Template

from .explanation import explanation_record

_STYLE, _SCRIPT = ["explanation.css"], ["map.js", "explanation.js"]


def explanation_page(config, *, name, classes, layer=-1, head=None, explanation=None):
    """The page as text.

    config: the student's as trained. name: what the page calls the student. classes: a name for
    each. layer, head: whose attention it shows first. explanation: what it shows; without one it
    asks the server it came from, by POST /explain, for one of each sentence typed.
    """
    model = {
        "name": name,
        "classes": classes,
        "blocks": config.blocks,
        "heads": config.heads,
        "width": config.width,
        "attention": config.attention,
        "max_tokens": config.max_tokens,
        "steps": config.steps,
        "most_steps": most_steps(config),
        "threshold": config.neuron.v_th,
        "rest": config.neuron.v_reset,
    }
    data = {
        "model": model,
        "layer": range(config.blocks)[layer],
        "head": head,
        "explanation": explanation and explanation_record(explanation),
    }
    return Template(_read("explanation.html")).substitute(
        policy=content_security_policy(),
        style=_read(*_STYLE),
        script=_read(*_SCRIPT),
        # No "<", so that no sentence can end the element that it stands in.
        data=json.dumps(data).replace("<", "\\u003c"),
    )


def most_steps(config):
    """The most time steps that the page may ask for: enough to see their use, few enough to
    answer at once."""
    return max(16, 2 * config.steps)


def content_security_policy():
    """Only the page's own style and script, known by their sha256, and its own server."""
    return (
        f"default-src 'none'; style-src {_digest(*_STYLE)}; script-src {_digest(*_SCRIPT)}; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'"
    )


def _read(*names):
    """The files of these names in `web/`, end to end."""
    folder = files("spikebert_np") / "web"
    return "".join((folder / name).read_text(encoding="utf-8") for name in names)


def _digest(*names):
    digest = hashlib.sha256(_read(*names).encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
