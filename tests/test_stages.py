"""Both stages on a tiny cache: run folders, seeds, selection, refusals."""

from dataclasses import asdict

import numpy as np
import pytest
from tiny import make_cache

from spikebert_np.errors import InputError
from spikebert_np.training.checkpoint import load_run
from spikebert_np.training.loop import TrainingSettings
from spikebert_np.training.stages import new_student, run_stage, student_config

STAGE1 = TrainingSettings(epochs=2, batch_tokens=64, w_ce=0.0, w_kl=0.0, w_feat=1.0, w_emb=1.0)
STAGE2 = TrainingSettings(epochs=2, batch_tokens=64)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return make_cache(tmp_path_factory.mktemp("tiny"))


def train(out, stage, cache, settings, params=None):
    config = student_config(cache, width=8, heads=2, blocks=2, steps=3)
    params = new_student(cache, config, settings) if params is None else params
    tables = {"training": asdict(settings), "data": {"stage": stage}}
    return run_stage(out, stage, cache, params, config, settings, tables=tables, quiet=True)


def test_stage_2_starts_from_the_exact_weights_of_stage_1(cache, tmp_path):
    params, _ = train(tmp_path / "one", "pretrain", cache, STAGE1)
    run = load_run(tmp_path / "one")
    assert run.params.keys() == params.keys()
    untrained = TrainingSettings(epochs=0)
    start, _ = train(tmp_path / "two", "finetune", cache, untrained, run.params)
    for key, value in load_run(tmp_path / "two").params.items():
        assert np.array_equal(value, params[key])
        assert np.array_equal(value, start[key])


def test_stage_1_moves_everything_but_the_head(cache, tmp_path):
    config = student_config(cache, width=8, heads=2, blocks=2, steps=3)
    start = new_student(cache, config, STAGE1)
    params, records = train(tmp_path / "run", "pretrain", cache, STAGE1)
    still = {key for key in params if np.array_equal(params[key], start[key])}
    head = {key for key in params if key.startswith("head.")}
    # Of so small a student's attention, a silent head may stay too.
    assert head <= still <= head | {key for key in params if ".ssa." in key}
    assert records[-1]["feat"] < records[0]["feat"]
    assert "train_accuracy" not in records[0]


def test_one_seed_gives_one_result_and_another_seed_another(cache, tmp_path):
    first, records = train(tmp_path / "a", "finetune", cache, STAGE2)
    again, _ = train(tmp_path / "b", "finetune", cache, STAGE2)
    other, _ = train(tmp_path / "c", "finetune", cache, TrainingSettings(epochs=2, seed=1))
    assert all(np.array_equal(first[key], again[key]) for key in first)
    assert not np.array_equal(first["head.weight"], other["head.weight"])
    assert {"epoch", "loss", "ce", "kl", "feat", "emb", "dev_accuracy", "firing_rate"} <= set(
        records[0]
    )


def test_the_best_epoch_on_dev_is_kept(cache, tmp_path):
    from spikebert_np.training.inference import accuracy, predict_logits
    from spikebert_np.training.stages import split_corpus

    settings = TrainingSettings(epochs=6, batch_tokens=64, learning_rate=0.02)
    _, records = train(tmp_path / "run", "finetune", cache, settings)
    dev = split_corpus(cache, "dev")
    run = load_run(tmp_path / "run")
    logits = predict_logits(run.params, run.config, dev.ids, dev.offsets)
    best = max(record["dev_accuracy"] for record in records)
    assert accuracy(logits, dev.labels) == best
    assert best > 0.5
    report = (tmp_path / "run" / "report.md").read_text("utf-8")
    assert f"dev accuracy {best:.4f}" in report


def test_a_taken_folder_is_refused_and_kept(cache, tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(InputError, match="exists already"):
        train(tmp_path, "pretrain", cache, STAGE1)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_overflowing_loss_stops_with_a_remedy(cache, tmp_path):
    settings = TrainingSettings(epochs=3, batch_tokens=64, learning_rate=1e38, clip_norm=1e38)
    with (
        np.errstate(all="ignore"),
        pytest.raises(InputError, match="lower --learning-rate"),
    ):
        train(tmp_path / "run", "finetune", cache, settings)


def test_features_are_refused_where_the_cache_has_too_few(tmp_path):
    cache = make_cache(tmp_path / "few", hidden_sentences=10)
    with pytest.raises(InputError, match="hidden states for only part"):
        train(tmp_path / "run", "finetune", cache, STAGE2)


def test_a_layer_mapped_to_a_block_that_is_not_there_is_refused(tmp_path):
    cache = make_cache(tmp_path / "deep", layers=(1, 2, 3))
    with pytest.raises(InputError, match="--blocks 3"):
        train(tmp_path / "run", "pretrain", cache, STAGE1)


def test_weights_of_another_run_are_refused_by_name(cache, tmp_path):
    train(tmp_path / "run", "finetune", cache, TrainingSettings(epochs=0))
    path = tmp_path / "run" / "config.toml"
    path.write_text(path.read_text("utf-8").replace("blocks = 2", "blocks = 1"), "utf-8")
    with pytest.raises(InputError, match=r"blocks\.1.*different runs"):
        load_run(tmp_path / "run")
    (tmp_path / "run" / "model.safetensors").write_bytes(b"nonsense")
    with pytest.raises(InputError, match="cannot be read"):
        load_run(tmp_path / "run")
