"""What is wrong with a network is found in its figures, said in words, and nothing else is."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from tiny import make_cache

from spikebert_np.analysis.firing import firing_rates
from spikebert_np.analysis.health import (
    ATTENTION_WAKES,
    BINS,
    findings,
    floor_warning,
    layer_of,
    sentence,
    step_health,
)
from spikebert_np.commands.demo import MODEL, STAGE1, STAGE2
from spikebert_np.data.corpus import slice_corpus
from spikebert_np.data.shipped import TOY, open_cache
from spikebert_np.errors import InputError
from spikebert_np.layers.embedding import RowGradient
from spikebert_np.layers.lif import LIFNeuron, lif_forward
from spikebert_np.models.spikebert import SpikeBertConfig, init_spikebert, spikebert_forward
from spikebert_np.training.checkups import EVERY, Checkups
from spikebert_np.training.corpora import split_corpus, stage1_corpus
from spikebert_np.training.loop import TrainingSettings, train
from spikebert_np.training.stages import new_student, run_stage, student_config
from spikebert_np.training.step import training_step
from spikebert_np.training.word_rows import teacher_word_rows

# Low enough that every layer of so small a student fires.
LIVELY = {"width": 16, "heads": 2, "steps": 3, "neuron": LIFNeuron(v_th=0.5), "scale": 1.0}
TWENTY = TrainingSettings(epochs=3, batch_tokens=64, w_feat=0.0, w_emb=0.0)  # 6 steps an epoch


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return make_cache(tmp_path_factory.mktemp("tiny"))


def looked_after(cache, plant=None, settings=TWENTY, **choices):
    """The kept parameters and the Checkups of a training whose start `plant` has changed."""
    config = student_config(cache, **LIVELY | choices)
    params = new_student(cache, config, settings)
    for key, change in (plant or {}).items():
        params[key] = change(params[key])
    checkups, corpus = Checkups(), split_corpus(cache, "train")
    log = {"log": lambda record: None, "quiet": True}
    return train(params, config, settings, corpus, checkups=checkups, **log), checkups


def test_a_healthy_network_is_left_in_peace(cache, capsys):
    _, checkups = looked_after(cache)
    assert checkups.warnings == []
    assert [record["step"] for record in checkups.records] == [1, EVERY + 1]
    assert "Try " not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("key", "change", "words"),
    [
        ("blocks.1.mlp.down.norm.bias", lambda v: v - 5, "blocks.1.mlp.down fires at 0 %: "),
        ("blocks.0.ssa.q.norm.bias", lambda v: v + 9, "blocks.0.ssa.q fires at 100 %: "),
        ("blocks.0.mlp.up.norm.gain", lambda v: 1000 * v, "the membrane of blocks.0.mlp.up is "),
    ],
    ids=["dead", "saturated", "exploding"],
)
def test_a_planted_fault_is_named_within_20_steps(cache, capsys, key, change, words):
    _, checkups = looked_after(cache, {key: change})
    (warning,) = checkups.warnings
    assert f"step {EVERY + 1}: {words}" in warning
    assert EVERY + 1 <= 20
    assert "Try " in warning
    assert capsys.readouterr().err.count(warning + "\n") == 1
    for record in checkups.records:
        assert len(record["findings"]) == 1  # of that layer alone


@pytest.mark.parametrize(("shift", "rate"), [(-9, "0 %"), (9, "100 %")], ids=["dead", "saturated"])
def test_an_encoder_without_a_membrane_is_looked_at_too(cache, shift, rate):
    plant = {"embedding.norm.bias": lambda v: v + shift}
    # Dropout sends a current of 0, at which this encoder fires.
    _, checkups = looked_after(cache, plant, encoder="heaviside", dropout=0.0)
    assert f"step {EVERY + 1}: encoder fires at {rate}: " in checkups.warnings[0]
    assert "membrane" not in checkups.records[0]["layers"]["encoder"]


def test_what_is_not_finite_is_named_at_once(cache, capsys):
    def spoil(value):
        return np.full_like(value, np.nan)

    # What is not a number does not fire: the loss is as if nothing were wrong.
    with pytest.raises(InputError, match="the gradient's norm is nan at step 1"):
        looked_after(cache, {"blocks.1.mlp.up.weight": spoil})
    assert "step 1: the membrane of blocks.1.mlp.up is not finite: " in capsys.readouterr().err
    with pytest.raises(InputError, match="the loss is nan at step 1"):
        looked_after(cache, {"head.weight": spoil})
    assert "step 1: the gradient of head is not finite: " in capsys.readouterr().err


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_gradient_that_is_not_finite_is_named_between_checkups(cache, capsys, monkeypatch, value):
    key, steps = "blocks.1.ssa.q.norm.bias", []

    def step_with_a_fault(*args, **settings):
        step = training_step(*args, **settings)
        steps.append(step)
        if len(steps) == 4:
            step.grads[key][1] = value
        return step

    monkeypatch.setattr("spikebert_np.training.loop.training_step", step_with_a_fault)
    with pytest.raises(InputError, match=f"the gradient's norm is {value} at step 4"):
        looked_after(cache)
    assert "step 4: the gradient of blocks.1.ssa.q is not finite: " in capsys.readouterr().err


def test_looking_changes_no_bit(cache):
    config = student_config(cache, **LIVELY)
    corpus, results = split_corpus(cache, "train"), []
    for checkups in (None, Checkups()):
        params = new_student(cache, config, TWENTY)
        log = {"log": lambda record: None, "quiet": True}
        results.append(train(params, config, TWENTY, corpus, checkups=checkups, **log))
    for key, value in results[0].items():
        np.testing.assert_array_equal(value, results[1][key])


def test_a_run_folder_holds_its_health(cache, tmp_path):
    for kind, choices in (("spikebert", LIVELY), ("textcnn", {"filters": 4})):
        config = student_config(cache, kind=kind, **choices)
        params = new_student(cache, config, TWENTY)
        out = tmp_path / kind
        quietly = {"tables": {}, "quiet": True, "report": False}
        run_stage(out, "finetune", cache, params, config, TWENTY, **quietly)
    lines = (tmp_path / "spikebert" / "health.jsonl").read_text("utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    assert [record["step"] for record in records] == [1, EVERY + 1]
    assert records[0]["layers"]["blocks.1.mlp.down"]["firing"] > 0
    assert list(records[0]["spike_gradients"]) == ["blocks.1", "blocks.0", "encoder"]
    assert not (tmp_path / "textcnn" / "health.jsonl").exists()


def test_a_long_run_has_about_a_hundred_records(monkeypatch):
    health = {"layers": {}, "gradients": {}, "spike_gradients": {}}
    monkeypatch.setattr("spikebert_np.training.checkups.step_health", lambda *_: health)
    checkups = Checkups()
    result = SimpleNamespace(caches=[], grads={}, spike_gradients=None, loss=1.0)
    for step in filter(checkups.due, range(20_000)):
        checkups.examine(step, result)
    steps = [record["step"] for record in checkups.records]
    assert 80 < len(steps) < 150
    assert steps[:3] == [1, 11, 21]
    assert steps[-1] > 19_000


def forward(config, seed):
    params = init_spikebert(config, np.random.default_rng(seed))
    ids, offsets = np.arange(60) % 10, np.array([0, 20, 60])
    return spikebert_forward(ids, offsets, params, config, backend="numpy")[1]


def test_the_figures_of_a_layer():
    config = SpikeBertConfig(vocab_size=10, embedding_width=8, width=16, heads=2, steps=3)
    caches = [forward(config, seed) for seed in (0, 1)]
    layers = step_health(caches, {}, None)["layers"]
    rates = [firing_rates(cache) for cache in caches]
    assert layers.keys() == rates[0].keys()
    for name, layer in layers.items():
        assert layer["firing"] == pytest.approx((rates[0][name] + rates[1][name]) / 2, rel=1e-3)
        assert len(layer["histogram"]) == BINS
        assert sum(layer["histogram"]) == pytest.approx(1, abs=1e-3)
    lifs = [cache.blocks[1].mlp.up.lif for cache in caches]
    s = np.concatenate([lif.s for lif in lifs], axis=1)  # (T, N, D)
    assert layers["blocks.1.mlp.up"]["dead"] == round(float((~s.any((0, 1))).mean()), 4)
    assert layers["blocks.1.mlp.up"]["saturated"] == round(float(s.all((0, 1)).mean()), 4)
    h = np.concatenate([lif.h[:, ::2] for lif in lifs], axis=1)  # 60 tokens: 30 are looked at
    assert layers["blocks.1.mlp.up"]["membrane"] == pytest.approx(np.sqrt((h**2).mean()), rel=1e-3)
    fired = (h >= 1).mean()
    assert sum(layers["blocks.1.mlp.up"]["histogram"][12:]) == pytest.approx(fired, abs=1e-3)
    # Attention's threshold is half the others'.
    h = np.concatenate([cache.blocks[1].ssa.attention_lif.h[:, ::2] for cache in caches], axis=1)
    expected = np.sqrt((h**2).mean()) / 0.5
    assert layers["blocks.1.ssa.attn"]["membrane"] == pytest.approx(expected, rel=1e-3)


def test_the_histogram_is_in_thresholds_above_rest(monkeypatch):
    neuron = LIFNeuron(tau=1.0, v_th=3.0, v_reset=-1.0)
    x = np.array([-99.0, 0.0, 1.0, 3.99, 4.0, 99.0]).reshape(1, 6, 1)  # H = X + v_reset
    _, lif = lif_forward(x, neuron=neuron)
    monkeypatch.setattr("spikebert_np.analysis.health.neuron_layers", lambda cache: {"a": cache})
    monkeypatch.setattr("spikebert_np.analysis.health.spike_layers", lambda cache: {"a": cache.s})
    layer = step_health([lif], {}, None)["layers"]["a"]
    expected = np.zeros(BINS)
    # Rest is bin 8, the threshold bin 12; what lies beyond is in the outermost.
    np.add.at(expected, [0, 8, 9, 11, 12, 15], 1 / 6)
    np.testing.assert_allclose(layer["histogram"], expected, atol=1e-4)
    assert layer["firing"] == round(2 / 6, 4)


def test_gradients_by_layer():
    row = RowGradient(np.array([3]), np.array([[3.0, 4.0]]))
    grads = {
        "head.weight": np.array([2.0]),
        "blocks.0.ssa.q.weight": np.array([1.0, 2.0]),
        "blocks.0.ssa.q.norm.gain": np.array([2.0]),
        "embedding.norm.bias": np.array([12.0]),
        "embedding.weight": row,
    }
    norms = step_health([None], grads, None)["gradients"]
    assert norms == {"embedding": 13.0, "blocks.0.ssa.q": 3.0, "head": 2.0}
    assert list(norms) == ["embedding", "blocks.0.ssa.q", "head"]
    assert layer_of("taps.1.norm.gain") == "taps.1"
    assert layer_of("convs.3.norm.bias") == "convs.3"


def health(layers=(), **gradients):
    well = {"firing": 0.05, "membrane": 0.7}
    return {"layers": {n: well | own for n, own in dict(layers).items()}, "gradients": gradients}


def test_attention_has_time_to_wake():
    silent = health({"blocks.0.ssa.attn": {"firing": 0.0}})
    assert findings(silent, 0) == {}
    (found,) = findings(silent, ATTENTION_WAKES)
    assert found == "attention"


def test_what_reads_silent_attention_alone_is_no_fault_of_its_own():
    silent = {"firing": 0.0}
    both = health({"blocks.0.ssa.attn": silent, "blocks.0.ssa.out": silent})
    assert findings(both, 0) == {}
    assert list(findings(both, ATTENTION_WAKES)) == ["attention"]
    assert list(findings(health({"blocks.0.ssa.attn": {}, "blocks.0.ssa.out": silent}), 0)) == [
        "silent"
    ]


def test_a_gradient_that_explodes_from_block_to_block_is_found():
    even = {"blocks.0.mlp.up": 3.0, "blocks.0.mlp.down": 4.0, "blocks.1.mlp.up": 0.006}
    assert findings(health(**even), 0) == {}
    found = findings(health(**even | {"blocks.1.mlp.up": 0.004}), 0)
    assert "the gradient of blocks.0, 5, is over 1,000 times that of blocks.1" in str(found)


def test_many_layers_make_one_sentence():
    text = sentence("silent", [f"layer {i}" for i in range(5)])
    assert text.startswith("layer 0, layer 1, layer 2, and likewise 2 layers more: ")


def test_the_firing_floor_is_looked_at_where_a_student_is_made(cache, capsys):
    assert floor_warning(LIFNeuron(), 4) is None
    assert floor_warning(LIFNeuron(tau=np.inf, decay_input=False), 4) is None
    slow = LIFNeuron(tau=10.0)
    assert "below 2.91 never fires" in floor_warning(slow, 4)
    config = student_config(cache, width=8, heads=2)
    new_student(cache, config, TWENTY)
    assert capsys.readouterr().err == ""
    new_student(cache, replace(config, neuron=slow), TWENTY)
    assert "Lower --tau or --v-th" in capsys.readouterr().err


@pytest.mark.parametrize("stage", ["pretrain", "direct"])
def test_the_demo_starts_without_an_alarm(stage):
    cache = open_cache(TOY)
    if stage == "pretrain":
        settings, corpus = TrainingSettings(**STAGE1), stage1_corpus(cache)
    else:
        settings, corpus = TrainingSettings(**STAGE2), split_corpus(cache, "train")
        corpus = slice_corpus(corpus, 0, 400)
    settings = replace(settings, epochs=2)
    config, checkups = student_config(cache, **MODEL), Checkups()
    train(
        new_student(cache, config, settings),
        config,
        settings,
        corpus,
        word_rows=teacher_word_rows(cache)[0],
        log=lambda record: None,
        checkups=checkups,
        quiet=True,
    )
    assert checkups.records[-1]["step"] >= EVERY + 1
    assert checkups.warnings == []
