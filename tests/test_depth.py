"""`spikebert depth` on a tiny cache: what is measured, at the start and after, and written."""

import json

import numpy as np
import pytest
from tiny import make_cache

from spikebert_np.analysis.depth_plot import depth_figure
from spikebert_np.cli import main
from spikebert_np.training import depth
from spikebert_np.training.depth import REMEDIES, measure_depth

ARGS = ["--width", "8", "--blocks", "3", "--updates", "2", "--seeds", "2", "--quiet"]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return make_cache(tmp_path_factory.mktemp("depth"), train=120)


def measure(cache, name, **shape):
    (remedy,) = (remedy for remedy in REMEDIES if remedy.name == name)
    shape = {"width": 8, "blocks": 3, "updates": 2} | shape
    return measure_depth(cache, remedy, **shape, quiet=True)


@pytest.mark.parametrize(("seed", "silent"), [(1, True), (4, False)])
def test_where_tokens_stay_silent_the_gradient_explodes_unless_the_threshold_is_low(
    cache, seed, silent
):
    shape = {"width": 64, "blocks": 12, "updates": 1, "seed": seed}
    start = measure(cache, "as-it-is", **shape)["start"]
    assert start["silent"][0] > 0
    assert (start["silent"][-1] > 0) == silent
    assert (start["gradient"][0] > 100 * start["gradient"][-1]) == silent
    if silent:
        mended = measure(cache, "threshold", **shape)["start"]
        assert not any(mended["silent"])
        assert mended["gradient"][0] < 3 * mended["gradient"][-1]
        assert np.mean(mended["firing"]) > 2 * np.mean(start["firing"])


def test_both_measurements_are_of_every_block_and_training_lies_between(cache):
    measured = measure(cache, "features")
    for when in ("start", "end"):
        assert [len(values) for values in measured[when].values()] == [3, 3, 3]
    assert measured["start"] != measured["end"]
    assert measured["step"] >= 2
    assert 0 <= measured["dev_accuracy"] <= 1
    # Of another remedy the first gradient differs: each block has a loss of its own here.
    assert measured["start"]["gradient"] != measure(cache, "as-it-is")["start"]["gradient"]


def test_both_classes_are_learnt_where_a_corpus_has_one_behind_the_other(tmp_path, monkeypatch):
    cache = make_cache(tmp_path, train=120)
    first, last = cache.splits["train"]
    cache.labels[first:last].sort()
    seen = []
    learn = depth.train

    def spy(params, config, settings, corpus, **options):
        seen.append(corpus.labels)
        return learn(params, config, settings, corpus, **options)

    monkeypatch.setattr(depth, "train", spy)
    measure(cache, "as-it-is", updates=1)
    assert len(seen[0]) < 60
    assert set(seen[0].tolist()) == {0, 1}


def test_hidden_states_of_a_part_are_not_enough(tmp_path, capsys):
    make_cache(tmp_path, train=20, hidden_sentences=9)
    assert main(["depth", str(tmp_path), *ARGS]) == 2
    assert "hidden states for only part" in capsys.readouterr().err


def test_command_table_and_plot(cache, capsys):
    out = cache.tokenizer.parent.parent
    assert main(["depth", str(out), *ARGS]) == 0
    page = (out / "depth" / "DEPTH.md").read_text("utf-8")
    for remedy in REMEDIES:
        files = [out / "depth" / remedy.name / f"seed{seed}" / "depth.json" for seed in (0, 1)]
        first = [json.loads(file.read_text())["start"]["gradient"][0] for file in files]
        cells = f"| {remedy.name} | {remedy.label} | {min(first):.2g} to {max(first):.2g} |"
        assert cells in page
    assert "spikebert depth" in page
    assert "--updates 2" in page
    assert (out / "depth" / "depth.png").stat().st_size > 1000
    before = (out / "depth" / "tau" / "seed1" / "depth.json").stat().st_mtime_ns
    capsys.readouterr()
    assert main(["depth", str(out), *ARGS]) == 0
    assert (out / "depth" / "tau" / "seed1" / "depth.json").stat().st_mtime_ns == before
    assert "done  tau/seed1" in capsys.readouterr().out
    assert main(["depth", str(out), *ARGS, "--blocks", "2"]) == 2
    assert "model.blocks" in capsys.readouterr().err


def test_the_plot_has_a_line_a_run_in_each_panel():
    values = {"gradient": [1.0, 2.0], "firing": [0.1, 0.2], "silent": [0.0, 0.1]}
    runs = [{"start": values, "end": values}] * 2
    rows = [{"label": str(i), "runs": runs} for i in range(9)]
    figure = depth_figure(rows)
    assert len(figure.axes) == 6
    for axis in figure.axes:
        assert len(axis.lines) == 18
        styles = {(line.get_color(), line.get_linestyle()) for line in axis.lines}
        assert len(styles) == 9
    assert figure.axes[0].get_yscale() == "log"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(map(str, range(9)))
