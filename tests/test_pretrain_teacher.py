"""A teacher from nothing: masks, the head for masked words, its gradients, and the command."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_bert_gradients import CONFIG
from tiny import last_json

from spikebert_np.checking.gradcheck import directional_derivative
from spikebert_np.cli import main
from spikebert_np.data import vocabulary
from spikebert_np.data.batches import Batch
from spikebert_np.data.masking import mask_tokens
from spikebert_np.data.tokenizer import load_tokenizer
from spikebert_np.data.vocabulary import SPECIALS, train_tokenizer
from spikebert_np.models.bert import BertConfig
from spikebert_np.models.bert_checkpoint import load_bert
from spikebert_np.training import optim, teacher_loop
from spikebert_np.training.pretrain_teacher import init_bert, masked_word_gradients
from spikebert_np.training.workers import workers

SENTENCES = st.lists(st.lists(st.integers(5, 30), max_size=20), min_size=1, max_size=6)


@given(SENTENCES, st.integers(0, 100))
def test_words_are_masked_and_nothing_else(sentences, seed):
    ids = np.concatenate([[2, *words, 3] for words in sentences]).astype(np.int32)
    offsets = np.cumsum([0, *(len(words) + 2 for words in sentences)])
    masked = mask_tokens(
        ids,
        offsets,
        specials=np.arange(5),
        mask_id=4,
        vocab_size=31,
        rng=np.random.default_rng(seed),
    )
    np.testing.assert_array_equal(masked.targets, ids[masked.positions])
    assert (masked.targets >= 5).all()
    assert (np.diff(masked.positions) > 0).all()
    others = np.setdiff1d(np.arange(len(ids)), masked.positions)
    np.testing.assert_array_equal(masked.ids[others], ids[others])
    for words, start, stop in zip(sentences, offsets[:-1], offsets[1:], strict=True):
        asked = ((masked.positions >= start) & (masked.positions < stop)).sum()
        assert bool(asked) == bool(words)


def test_shares_of_the_mask():
    ids = np.full(20_000, 7, np.int32)
    masked = mask_tokens(
        ids,
        np.array([0, 20_000]),
        specials=np.arange(5),
        mask_id=4,
        vocab_size=1000,
        rng=np.random.default_rng(0),
    )
    assert len(masked.positions) / len(ids) == pytest.approx(0.15, abs=0.01)
    read = masked.ids[masked.positions]
    assert (read == 4).mean() == pytest.approx(0.8, abs=0.03)
    assert (read == 7).mean() == pytest.approx(0.1, abs=0.02)


def pretraining():
    config = replace(BertConfig(**CONFIG), classes=0, dropout=0.2, attention_dropout=0.1)
    rng = np.random.default_rng(5)
    params = {
        key: value.astype(np.float64) + 0.3 * rng.standard_normal(value.shape)
        for key, value in init_bert(config, rng).items()
    }
    ids = np.array([2, 7, 9, 10, 3, 2, 5, 3, 2, 8, 8, 6, 9, 3])
    return params, config, Batch(ids, np.array([0, 5, 8, 14]), None, np.arange(3))


@pytest.mark.parametrize("count", [1, 2])
def test_the_whole_gradient_along_a_direction(rng, count):
    """Words are read and said: both parts of their gradient, through dropout and masks."""
    params, config, batch = pretraining()
    with workers(count) as run:

        def step(params):
            return masked_word_gradients(params, config, batch, run, count, seed=[3])

        _, share, grads = step(params)
        assert grads.keys() == params.keys()
        assert 0 <= share <= 1
        for _ in range(4):
            direction = {key: rng.standard_normal(value.shape) for key, value in params.items()}
            along = sum((grads[key] * direction[key]).sum() for key in params)
            numeric = directional_derivative(lambda p: step(p)[0], params, direction)
            assert abs(numeric) > 1e-2
            assert abs(along - numeric) < 1e-5 * abs(numeric)


def test_float32_stays_float32():
    params, config, batch = pretraining()
    params = {key: value.astype(np.float32) for key, value in params.items()}
    with workers(2) as run:
        _, _, grads = masked_word_gradients(params, config, batch, run, 2, seed=[3])
    assert {grad.dtype for grad in grads.values()} == {np.dtype(np.float32)}


def test_two_workers_give_the_loss_and_the_gradients_of_one():
    params, config, batch = pretraining()
    config = replace(config, dropout=0, attention_dropout=0)
    results = []
    for count in (1, 2, 3):
        with workers(count) as run:
            results.append(masked_word_gradients(params, config, batch, run, count, seed=[3, 0]))
    loss, share, grads = results[0]
    for other_loss, other_share, other in results[1:]:
        assert other_loss == pytest.approx(loss, rel=1e-12)
        assert other_share == share
        for key, grad in grads.items():
            np.testing.assert_allclose(other[key], grad, atol=1e-12)


def test_the_vocabulary_cuts_chinese_by_character(tmp_path):
    texts = ["房间很好 good hotel", "房间不好 bad hotel"] * 10
    tokenizer = train_tokenizer(texts, 60)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    tokenizer = load_tokenizer(tmp_path / "tokenizer.json")
    assert [tokenizer.token_to_id(token) for token in SPECIALS] == [0, 1, 2, 3, 4]
    tokens = tokenizer.encode("房间好 hotel").tokens
    assert tokens == ["[CLS]", "房", "间", "好", "hotel", "[SEP]"]


@pytest.fixture
def text(tmp_path):
    """The second word of a pair follows from the first: a guess by frequency is right in 1 of 8."""
    rng = np.random.default_rng(1)
    pairs = ["red apple", "green leaf", "blue sky", "white snow"]
    lines = [" ".join(rng.choice(pairs, 3)) for _ in range(1000)]
    path = tmp_path / "pairs.txt"
    path.write_text("\n".join(lines))
    return path


def arguments(text, out, *options):
    shape = ("--vocab-size", "60", "--layers", "2", "--hidden", "32", "--heads", "2")
    speed = ("--batch-tokens", "400", "--learning-rate", "0.003", "--dropout", "0", "--quiet")
    paths = ("--text", str(text), "--out", str(out))
    return ["teacher", "train", *paths, *shape, *speed, *options]


def test_it_learns_to_guess_and_can_be_fine_tuned(text, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("spikebert_np.data.tokenizer._BAR_FROM", 0)
    out = tmp_path / "out"
    assert main(arguments(text, out, "--epochs", "12", "--json")) == 0
    output = capsys.readouterr()
    assert "%|" not in output.err  # --quiet: no bar
    assert last_json(output.out)["dev_accuracy"] > 0.5
    config, params = load_bert(out)
    assert (config.depth, config.width, config.classes) == (2, 32, 0)
    assert not any(key.startswith("mlm.") for key in params)
    lines = text.read_text().splitlines()
    for name, part in (("train", lines[:200]), ("dev", lines[200:240])):
        labelled = [f"{int(line.startswith('red'))} {line}" for line in part]
        (tmp_path / "corpus").mkdir(exist_ok=True)
        (tmp_path / "corpus" / f"{name}.txt").write_text("\n".join(labelled))
    options = ("--epochs", "2", "--data", str(tmp_path / "corpus"), "--json")
    assert main(arguments(text, tmp_path / "task", *options)) == 0
    assert last_json(capsys.readouterr().out)["dev_accuracy"] > 0.6
    assert load_bert(tmp_path / "task")[0].classes == 2
    assert load_bert(tmp_path / "task-pretrained")[0].classes == 0


def test_a_stopped_run_goes_on_to_the_same_weights(text, tmp_path, monkeypatch):
    # Two vocabularies of one text may differ in pieces that are as frequent.
    tokenizer = train_tokenizer(text.read_text().splitlines(), 60)
    monkeypatch.setattr(vocabulary, "train_tokenizer", lambda *_: tokenizer)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert main(arguments(text, whole, "--epochs", "2")) == 0
    monkeypatch.setattr(teacher_loop, "CHECKPOINT_SECONDS", 0)
    step, steps = optim.adamw_step, []

    def interrupted(*args, **kwargs):
        steps.append(1)
        if len(steps) in (5, 17):
            raise KeyboardInterrupt
        return step(*args, **kwargs)

    monkeypatch.setattr(optim, "adamw_step", interrupted)
    statuses = [main(arguments(text, parts, "--epochs", "2")) for _ in range(3)]
    assert statuses == [130, 130, 0]
    for name in ("model.safetensors", "tokenizer.json", "config.json"):
        assert (parts / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--heads", "3"), "hidden 32 is no multiple of heads 3"),
        (("--layers", "0"), "layers = 0: it must be at least 1"),
        (("--vocab-size", "5"), "vocab_size = 5: it must be at least 6"),
        (("--vocab-size", "6"), "no word can be masked with 5 pieces"),
        (("--max-tokens", "2"), "--max-tokens must be at least 3"),
        (("--epochs", "0"), "epochs = 0: it must be finite and above 0"),
        (("--data", "nowhere"), "nowhere: no such file"),
    ],
)
def test_mistakes_end_in_one_sentence(text, tmp_path, capsys, options, words):
    assert main(arguments(text, tmp_path / "out", *options)) == 2
    assert words in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["pairs.txt"]


def test_a_text_without_a_word_is_told_so(text, tmp_path, capsys):
    text.write_text("...\n!!!\n???\n")
    assert main(arguments(text, tmp_path / "out")) == 2
    assert "fewer than two sentences with a letter or digit" in capsys.readouterr().err


def test_sentences_without_a_word_are_left_out(text, tmp_path, capsys):
    """A word that stands in the text as [UNK] is never asked for: nothing could be masked."""
    lines = text.read_text().splitlines()[:80]
    text.write_text("\n".join([*lines, *["[MASK]", "[UNK]", "[SEP] [CLS]"] * 30]))
    assert main(arguments(text, tmp_path / "out", "--batch-tokens", "8", "--epochs", "1")) == 0
    assert "nan" not in capsys.readouterr().out
    records = (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()
    assert all(np.isfinite(json.loads(line)["dev_accuracy"]) for line in records)


def test_the_teacher_knows_the_pieces_that_there_are(text, tmp_path):
    """Not --vocab-size of them: words that no text has would be drawn in place of masked ones."""
    options = ("--vocab-size", "5000", "--epochs", "1")
    assert main(arguments(text, tmp_path / "out", *options)) == 0
    pieces = load_tokenizer(tmp_path / "out").get_vocab_size()
    assert pieces < 100
    assert load_bert(tmp_path / "out")[0].vocab_size == pieces


def test_only_what_the_same_command_made_is_fine_tuned(text, tmp_path, capsys):
    (tmp_path / "corpus").mkdir()
    for name in ("train", "dev"):
        (tmp_path / "corpus" / f"{name}.txt").write_text("0 red apple\n1 green leaf\n")
    options = ("--data", str(tmp_path / "corpus"), "--epochs", "1")
    assert main(arguments(text, tmp_path / "task", *options)) == 0
    shutil.rmtree(tmp_path / "task")
    assert main(arguments(text, tmp_path / "task", *options)) == 0
    assert "task-pretrained: is there already, from the same command" in capsys.readouterr().out
    shutil.rmtree(tmp_path / "task")
    assert main(arguments(text, tmp_path / "task", *options, "--layers", "1")) == 2
    assert "task-pretrained: is of another run, with layers 2" in capsys.readouterr().err
    text.write_text(text.read_text() + "\nwhite apple")
    assert main(arguments(text, tmp_path / "task", *options)) == 2
    assert "with text_sha256" in capsys.readouterr().err


def test_dev_and_test_texts_of_the_task_are_not_learnt_from(text, tmp_path, capsys, monkeypatch):
    lines = [*text.read_text().splitlines()[:200], "Purple Cow", "yellow hen", "grey owl"]
    text.write_text("\n".join(lines))
    (tmp_path / "corpus").mkdir()
    for name, second in (("train", "grey owl"), ("dev", "purple  cow"), ("test", "yellow hen")):
        (tmp_path / "corpus" / f"{name}.txt").write_text(f"0 red apple tree\n1 {second}\n")
    read = []

    def stopped(texts, vocab_size):
        read.extend(texts)
        raise KeyboardInterrupt

    monkeypatch.setattr(vocabulary, "train_tokenizer", stopped)
    command = arguments(text, tmp_path / "task", "--data", str(tmp_path / "corpus"))
    assert main(command) == 130
    assert "2 texts left out" in capsys.readouterr().out
    assert not {"Purple Cow", "yellow hen"} & set(read)
    # What is kept aside to measure by has no part in the vocabulary either.
    assert len(read) == 197


def test_every_character_of_a_chinese_text_is_known():
    """The library would keep the 1,000 commonest letters."""
    characters = [chr(0x4E00 + i) for i in range(1500)]
    texts = ["".join(characters[i : i + 10]) for i in range(0, 1500, 10)]
    tokenizer = train_tokenizer(texts, 2000)
    assert not any(1 in tokenizer.encode(text).ids for text in texts)
    for size in (6, 20, 100, 1000):
        assert train_tokenizer([*texts, "letters in a word"], size).get_vocab_size() <= size


def test_what_is_written_is_no_ones_path(text, tmp_path):
    assert main(arguments(text, tmp_path / "out", "--epochs", "1")) == 0
    settings = json.loads((tmp_path / "out" / "settings.json").read_text())
    assert settings["vocab_size"] == 60
    assert str(tmp_path) not in json.dumps(settings)
