"""Sliders: with ipywidgets a slider draws anew; without it, and beside it, there is a picture."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from spikebert_np.analysis import neuron_plots as plots
from spikebert_np.analysis.sliders import sliders

VIEW = "application/vnd.jupyter.widget-view+json"


def draw(tau=2.0, T=4):
    draw.called.append((tau, T))
    t = np.arange(T)
    return plots.curves(t, {"V": tau * t}, title="a title", xlabel="t (steps)", ylabel="V")


@pytest.fixture
def shown():
    draw.called = []
    return sliders(draw, tau=(1.0, 12.0), T=(2, 16))


def test_without_ipywidgets_the_picture_of_the_defaults(shown, monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)  # an import of it fails
    assert shown._repr_mimebundle_() == {}
    png, size = shown._repr_png_()
    assert png.startswith(b"\x89PNG")
    assert size == {"width": 700}
    assert draw.called == [(2.0, 4)]


def test_a_slider_that_is_moved_draws_anew(shown):
    pytest.importorskip("ipywidgets", reason="pip install -e '.[notebooks]'")
    controls, image = shown.widget().children
    tau, steps = controls.children[:2]
    assert (tau.description, tau.value, tau.min, tau.max) == ("tau", 2.0, 1.0, 12.0)
    assert (steps.description, steps.value, steps.step) == ("T", 4, 1)
    before = bytes(image.value)
    assert before == shown._repr_png_()[0]
    tau.value = 7.5
    steps.value = 9
    assert draw.called[-2:] == [(7.5, 4), (7.5, 9)]
    assert bytes(image.value) == sliders(lambda: draw(7.5, 9))._repr_png_()[0] != before


@pytest.mark.parametrize("somebody_there", [True, False])
def test_a_notebook_is_offered_both_where_somebody_sits(shown, monkeypatch, somebody_there):
    pytest.importorskip("ipywidgets", reason="pip install -e '.[notebooks]'")
    formatters = pytest.importorskip("IPython.core.formatters")
    shell = SimpleNamespace(kernel=SimpleNamespace(_allow_stdin=somebody_there))
    monkeypatch.setattr("IPython.get_ipython", lambda: shell)
    data, metadata = formatters.DisplayFormatter().format(shown)
    assert (VIEW in data) == somebody_there
    assert "image/png" in data
    assert metadata["image/png"] == {"width": 700}


@pytest.mark.slow
def test_a_notebook_that_is_run_through_shows_the_picture():
    """In a real kernel."""
    pytest.importorskip("ipywidgets", reason="pip install -e '.[notebooks]'")
    nbformat = pytest.importorskip("nbformat.v4")
    client = pytest.importorskip("nbclient")
    source = (
        "from spikebert_np.analysis.neuron_plots import surrogates\n"
        "from spikebert_np.analysis.sliders import sliders\n"
        "sliders(lambda alpha=2.0: surrogates(alpha=alpha), alpha=(1.0, 3.0))"
    )
    notebook = nbformat.new_notebook(cells=[nbformat.new_code_cell(source)])
    client.NotebookClient(notebook, kernel_name="python3").execute()
    (output,) = notebook.cells[0].outputs
    assert "image/png" in output.data
    assert VIEW not in output.data
    assert "widgets" not in notebook.metadata
