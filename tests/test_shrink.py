"""A student made small: each step by itself, then the command and the folder that it writes."""

import json
import shutil
from itertools import pairwise

import numpy as np
import pytest
from conftest import assert_fires, away_from_init, random_offsets
from test_tokenizer import VOCABULARY
from tiny import last_json
from tokenizers import BertWordPieceTokenizer

from spikebert_np.cli import main
from spikebert_np.layers.lif import LIFNeuron
from spikebert_np.models.spikebert import (
    SpikeBertConfig,
    init_spikebert,
    parameter_shapes,
    spikebert_forward,
)
from spikebert_np.training import shards
from spikebert_np.training.checkpoint import (
    config_tables,
    load_run,
    save_weights,
    write_config,
    write_shrunk_run,
)
from spikebert_np.training.shrink import pieces_that_fit, prune, rank_pieces, without_taps

LETTERS = ["w", "##a", "##r", "##m", "f", "##i", "##l"]
PIECES = [*VOCABULARY[:5], "[unused0]", *VOCABULARY[5:], *LETTERS]


@pytest.fixture
def tokenizer(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(PIECES), encoding="utf-8")
    return BertWordPieceTokenizer(str(tmp_path / "vocab.txt"), lowercase=True)._tokenizer


def student(rng, **settings):
    settings = {
        "vocab_size": len(PIECES), "width": 8, "heads": 2, "steps": 3, "embedding_width": 6,
        "teacher_width": 5, "max_tokens": 12, **settings,
    }  # fmt: skip
    config = SpikeBertConfig(**settings)
    return away_from_init(init_spikebert(config, rng), rng), config


def test_without_taps_the_logits_are_the_same(rng):
    neuron = LIFNeuron(tau=1.5, v_th=0.5)
    params, config = student(rng, neuron=neuron, scale=1.0)
    ids, offsets = random_offsets(rng, [3, 5, 4])
    fewer, smaller = without_taps(params, config)
    expected, cache = spikebert_forward(ids, offsets, params, config, backend="numpy")
    found, _ = spikebert_forward(ids, offsets, fewer, smaller, backend="numpy")
    assert_fires(cache)
    np.testing.assert_array_equal(found.logits, expected.logits)
    assert {key: value.shape for key, value in fewer.items()} == dict(parameter_shapes(smaller))
    assert "taps.0.weight" in params  # what was given stays as it was


def test_pieces_are_ranked_by_use_behind_what_must_stay(tokenizer):
    texts = ["dull films", "dull dull", "films", "a film"]
    ranked, needed = rank_pieces(tokenizer, texts, max_tokens=12)
    pieces = [piece for piece, _ in ranked]
    assert sorted(pieces) == sorted(PIECES)
    assert all(tokenizer.token_to_id(piece) == number for piece, number in ranked)
    # The special tokens, and letters, of which ##s is one; [unused0] could be a rare word's place.
    letters = ["a", "##s", "\u597d", *LETTERS]
    assert sorted(pieces[:needed]) == sorted([*VOCABULARY[:5], *letters])
    assert pieces[needed:] == ["film", "dull", "warm", "[unused0]"]


def test_a_word_whose_piece_is_gone_falls_apart(rng, tokenizer):
    params, config = student(rng)
    ranked, needed = rank_pieces(tokenizer, ["a dull film"], max_tokens=12)
    kept = [number for _, number in ranked[: needed + 2]]
    small, small_config, reduced = prune(params, config, tokenizer, kept)
    assert reduced.encode("a dull film").tokens == ["[CLS]", "a", "dull", "film", "[SEP]"]
    assert reduced.encode("warm").tokens == ["[CLS]", "w", "##a", "##r", "##m", "[SEP]"]
    assert small_config.vocab_size == len(small["embedding.weight"]) == needed + 2
    for piece, number in reduced.get_vocab().items():
        row = params["embedding.weight"][tokenizer.token_to_id(piece)]
        np.testing.assert_array_equal(small["embedding.weight"][number], row)


def test_a_row_is_off_by_half_its_scale_and_all_else_by_a_float16(rng):
    params = {
        "embedding.weight": rng.normal(size=(5, 7)).astype(np.float32),
        "head.weight": rng.normal(size=(4, 6)).astype(np.float32),
        "head.bias": rng.normal(size=9).astype(np.float32),
    }
    params["embedding.weight"][2] = 0
    stored = shards.quantise(params)
    assert stored["embedding.weight"].dtype == np.int8
    found = shards.dequantise(stored)
    assert found.keys() == params.keys()
    assert all(value.dtype == np.float32 for value in found.values())
    largest = np.abs(params["embedding.weight"]).max(axis=-1, keepdims=True)
    error = np.abs(found["embedding.weight"] - params["embedding.weight"])
    assert (error <= largest / 254 * 1.001).all()
    assert error.max() > 0
    for key in ("head.weight", "head.bias"):
        np.testing.assert_allclose(found[key], params[key], rtol=2**-11, atol=0)


@pytest.fixture
def folder(tmp_path, rng, tokenizer, monkeypatch):
    """A run folder whose weights lie in several shards, and the float32 weights."""
    monkeypatch.setattr(shards, "SHARD_BYTES", 1000)
    params, config = student(rng, teacher_width=0)
    params = {key: value.astype(np.float32) for key, value in params.items()}
    (tmp_path / "run").mkdir()
    write_shrunk_run(tmp_path / "run", params, config_tables(config), tokenizer)
    return tmp_path / "run", params


def test_a_run_in_shards_is_read_as_it_was_stored(folder):
    directory, params = folder
    sizes = [path.stat().st_size for path in directory.glob("model.safetensors.*")]
    assert len(sizes) > 2
    assert max(sizes) == 1000
    run = load_run(directory)
    expected = shards.dequantise(shards.quantise(params))
    assert run.params.keys() == expected.keys()
    for key, value in run.params.items():
        np.testing.assert_array_equal(value, expected[key])
    assert main(["predict", "--run", str(directory), "a warm film"]) == 0


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "No such file or directory), one of the "),
        (lambda path: path.write_bytes(path.read_bytes()[:-1] + b"?"), "another sha256"),
        (lambda path: path.write_bytes(path.read_bytes()[:500]), "another sha256"),
    ],
)
def test_a_shard_that_is_lost_or_damaged_is_named(folder, capsys, damage, message):
    directory, _ = folder
    damage(directory / "model.safetensors.1")
    assert main(["predict", "--run", str(directory), "a warm film"]) == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert f"{directory}/model.safetensors.1: " in error
    assert message in error
    assert "spikebert shrink" in error


@pytest.mark.parametrize("digests", ["[]", '"one"', "[3]"])
def test_a_config_that_names_no_shards_is_refused(folder, capsys, digests):
    directory, _ = folder
    path = directory / "config.toml"
    head, _, _ = path.read_text("utf-8").partition("sha256 = ")
    path.write_text(f"{head}sha256 = {digests}\n", "utf-8")
    assert main(["predict", "--run", str(directory), "a warm film"]) == 2
    assert str(directory) in capsys.readouterr().err


def corpus(folder):
    (folder / "data").mkdir(exist_ok=True)
    lines = ["1 a warm film", "0 dull films", "1 warm", "0 a dull film"]
    (folder / "data" / "some.train").write_text("\n".join(lines))
    (folder / "data" / "some.dev").write_text("\n".join(lines[:3]))
    return str(folder / "data")


@pytest.fixture
def run(tmp_path, rng, tokenizer):
    """A run folder as `finetune` writes it: float32, with taps and a projection."""
    params, config = student(rng)
    (tmp_path / "run").mkdir()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    tables = {"training": {"epochs": 3}, "data": {"cache": "/home/me/cache"}}
    write_config(tmp_path / "run", config_tables(config) | tables)
    params = {key: value.astype(np.float32) for key, value in params.items()}
    save_weights(tmp_path / "run", params, tmp_path / "tokenizer.json")
    return str(tmp_path / "run")


def test_the_command_tells_what_each_step_costs(run, tmp_path, capsys):
    small = tmp_path / "small"
    args = ["shrink", run, "--data", corpus(tmp_path), "--out", str(small), "--json"]
    assert main(args) == 0
    out = capsys.readouterr().out
    result = last_json(out)
    assert result["bytes"] == sum(path.stat().st_size for path in small.iterdir())
    assert result["vocabulary"] == len(PIECES)
    trained, tapless, pruned, quantised = result["steps"]
    assert trained["same_answer"] == tapless["same_answer"] == pruned["same_answer"] == 1
    assert trained["bytes"] > tapless["bytes"] == pruned["bytes"]
    weights = [path.stat().st_size for path in small.glob("model.safetensors.*")]
    assert quantised["bytes"] == sum(weights)
    report = (small / "report.md").read_text("utf-8")
    for step in result["steps"]:
        assert f"| {step['step']} | {step['bytes']:,} | {step['dev_accuracy']:.4f} |" in report
    config = (small / "config.toml").read_text("utf-8")
    assert "epochs = 3" in config
    assert "/home/me" not in config
    for path, step in ((run, trained), (str(small), quantised)):
        assert main(["evaluate", path, "--data", corpus(tmp_path), "--json"]) == 0
        assert last_json(capsys.readouterr().out)["accuracy"] == step["dev_accuracy"]


def test_a_corpus_without_dev_gives_bytes_alone(run, tmp_path, capsys):
    path = corpus(tmp_path)
    (tmp_path / "data" / "some.dev").unlink()
    (tmp_path / "more.txt").write_text("warm\n" * 9)
    args = ["shrink", run, "--data", path, "--text", str(tmp_path / "more.txt")]
    assert main([*args, "--vocabulary", "16", "--out", str(tmp_path / "small"), "--json"]) == 0
    result = last_json(capsys.readouterr().out)
    assert all(step.keys() == {"step", "bytes"} for step in result["steps"])
    vocabulary = json.loads((tmp_path / "small" / "tokenizer.json").read_text("utf-8"))["model"]
    # One piece beside special tokens and letters: of the two corpora, warm is the commonest.
    assert {"warm", "film", "dull"} & vocabulary["vocab"].keys() == {"warm"}


def test_as_many_pieces_are_kept_as_fit(rng, tokenizer):
    params, _ = without_taps(*student(rng))
    ranked, _ = rank_pieces(tokenizer, ["a dull film"], max_tokens=12)
    assert pieces_that_fit(ranked, params, 8 << 20) == len(ranked)
    sizes = range(16_000, 40_000, 10)
    counts = [pieces_that_fit(ranked, params, size) for size in sizes]
    assert counts[0] == 0
    assert counts[-1] == len(ranked)
    for fewer, more in pairwise(counts):
        assert fewer <= more <= fewer + 1  # a piece takes more than 10 bytes: 6 + 4 and its name


def test_mistakes_are_one_sentence_and_leave_nothing(run, tmp_path, capsys):
    data, out = corpus(tmp_path), str(tmp_path / "never")
    only_dev = str(tmp_path / "only.dev")
    shutil.copy(tmp_path / "data" / "some.dev", only_dev)
    for args, message in (
        (["--data", data, "--out", run], "exists already"),
        (["--data", data, "--out", out, "--max-bytes", "20000"], "letters must stay"),
        (["--data", data, "--out", out, "--vocabulary", "3"], "15 special tokens and letters"),
        (
            ["--data", data, "--out", out, "--vocabulary", "17", "--max-bytes", "5000"],
            "more than --max-bytes 5,000; give a smaller --vocabulary",
        ),
        (["--data", only_dev, "--out", out], "only.dev: has no train split"),
        (["--data", str(tmp_path / "none"), "--out", out], "no such file"),
    ):
        assert main(["shrink", run, *args]) == 2
        assert message in capsys.readouterr().err.splitlines()[-1]
        assert not (tmp_path / "never").exists()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_folder_that_is_taken_is_refused_before_anything_is_measured(run, tmp_path, capsys):
    assert main(["shrink", run, "--data", corpus(tmp_path), "--out", run]) == 2
    output = capsys.readouterr()
    assert "exists already" in output.err
    assert output.out == ""
