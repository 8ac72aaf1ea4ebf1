"""Both stages on a tiny cache: run folders, seeds, selection, refusals."""

from dataclasses import asdict

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tiny import TEACHER_WIDTH, make_cache

from spikebert_np.data.corpus import Corpus, join_corpora
from spikebert_np.data.hidden_rows import HiddenRows
from spikebert_np.errors import InputError
from spikebert_np.layers.losses import (
    cross_entropy_forward,
    kl_divergence_forward,
    log_softmax,
)
from spikebert_np.training import loop, optim
from spikebert_np.training.checkpoint import load_run, write_config
from spikebert_np.training.corpora import has_hidden, split_corpus, stage1_corpus, stage_corpora
from spikebert_np.training.inference import accuracy, predict_logits
from spikebert_np.training.loop import TrainingSettings
from spikebert_np.training.stages import new_student, run_stage, run_tables, student_config
from spikebert_np.training.word_rows import contextual_word_rows, teacher_word_rows

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
    settings = TrainingSettings(
        epochs=6, batch_tokens=64, learning_rate=0.01, w_ce=1.0, w_feat=0.0, w_emb=0.0, seed=2
    )
    _, records = train(tmp_path / "run", "finetune", cache, settings)
    scores = [record["dev_accuracy"] for record in records]
    best = max(scores)
    assert scores.index(best) < len(scores) - 1
    assert scores[-1] < best
    dev = split_corpus(cache, "dev")
    run = load_run(tmp_path / "run")
    logits = predict_logits(run.params, run.config, dev.ids, dev.offsets)
    assert accuracy(logits, dev.labels) == best
    report = (tmp_path / "run" / "report.md").read_text("utf-8")
    assert f"Kept: epoch {scores.index(best) + 1}, dev accuracy {best:.4f}" in report


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
    assert not list(tmp_path.iterdir())


def test_features_are_refused_where_the_cache_has_too_few(tmp_path):
    cache = make_cache(tmp_path / "few", hidden_sentences=10)
    with pytest.raises(InputError, match="hidden states for only part"):
        train(tmp_path / "run", "finetune", cache, STAGE2)
    assert [path.name for path in tmp_path.iterdir()] == ["few"]


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


def test_weights_that_cannot_be_right_are_refused(cache, tmp_path):
    train(tmp_path / "run", "finetune", cache, TrainingSettings(epochs=0))
    path = tmp_path / "run" / "model.safetensors"
    params = load_file(path)
    bias = params["head.bias"]
    for wrong in (np.full_like(bias, np.nan), bias.astype(np.float64), bias.astype(np.int32)):
        save_file(params | {"head.bias": wrong}, path)
        with pytest.raises(InputError, match=r"head\.bias is not all finite numbers of float32"):
            load_run(tmp_path / "run")
    save_file(params | {"head.extra": bias}, path)
    with pytest.raises(InputError, match=r"head\.extra should be absent"):
        load_run(tmp_path / "run")


def test_a_config_that_asks_for_too_much_is_refused_at_once(cache, tmp_path):
    train(tmp_path / "run", "finetune", cache, TrainingSettings(epochs=0))
    path = tmp_path / "run" / "config.toml"
    path.write_text(path.read_text("utf-8").replace("blocks = 2", "blocks = 99999999"), "utf-8")
    with pytest.raises(InputError, match=r"blocks\.2.*different runs"):
        load_run(tmp_path / "run")
    path.unlink()
    path.mkdir()
    with pytest.raises(InputError, match=r"config\.toml: cannot be read"):
        load_run(tmp_path / "run")


def test_a_tokenizer_with_more_words_than_the_model_is_refused(cache, tmp_path):
    from tokenizers import Tokenizer

    train(tmp_path / "run", "finetune", cache, TrainingSettings(epochs=0))
    path = tmp_path / "run" / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.add_tokens(["more"])
    tokenizer.save(str(path))
    with pytest.raises(InputError, match=r"tokenizer\.json: has the id 14.*14 words"):
        load_run(tmp_path / "run")
    path.unlink()
    with pytest.raises(InputError, match="no tokenizer"):
        load_run(tmp_path / "run")


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_training_leaves_nothing(cache, tmp_path, monkeypatch, error):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(optim, "adamw_step", fail)
    (tmp_path / "mine").mkdir()
    for out in ("new/folder/run", "mine"):
        with pytest.raises(error):
            train(tmp_path / out, "finetune", cache, STAGE2)
    assert [path.name for path in tmp_path.rglob("*")] == ["mine"]


def test_a_folder_that_cannot_be_made_is_one_sentence(cache, tmp_path):
    (tmp_path / "file").touch()
    for out, message in (("file", "exists already"), ("file/run", "cannot be written")):
        with pytest.raises(InputError, match=message):
            train(tmp_path / out, "finetune", cache, STAGE2)
    with pytest.raises(InputError, match="cannot be written"):
        train(tmp_path / ("x" * 300), "finetune", cache, STAGE2)


def test_config_toml_is_read_again_before_it_is_trusted(tmp_path):
    tables = {"data": {"cache": "caché \N{CAT FACE}", "rate": 1e-5}, "neuron": {"tau": np.inf}}
    write_config(tmp_path, tables)
    for wrong in ("\udc80", "\x7f"):
        with pytest.raises(InputError, match=r"config\.toml cannot hold"):
            write_config(tmp_path, {"data": {"cache": wrong}})


@pytest.mark.parametrize(
    ("name", "values"),
    [
        *[(name, (-1, np.inf, np.nan)) for name in ("w_ce", "w_kl", "w_feat", "w_emb")],
        *[(name, (-1, np.inf, np.nan)) for name in ("epochs", "seed", "weight_decay")],
        *[(name, (0, -1, np.inf, np.nan)) for name in ("learning_rate", "clip_norm")],
        *[(name, (0, -1, np.nan)) for name in ("batch_tokens", "temperature")],
        ("warmup", (-0.1, 1.1, np.nan)),
    ],
)
def test_settings_out_of_range_are_refused_by_name(name, values):
    for value in values:
        with pytest.raises(ValueError, match=f"^{name} = {value}: it "):
            TrainingSettings(**{name: value})


def relabelled(cache, split, label):
    labels = cache.labels.copy()
    labels[cache.splits[split][0]] = label
    return cache._replace(labels=labels)


@pytest.mark.parametrize(
    ("split", "settings", "message"),
    [
        ("dev", STAGE2, "its dev split has sentences without a label"),
        ("train", STAGE2, "its train split.*--w-ce 0"),
    ],
)
def test_a_split_without_labels_is_refused_by_name(cache, tmp_path, split, settings, message):
    with pytest.raises(InputError, match=message):
        train(tmp_path / "run", "finetune", relabelled(cache, split, -1), settings)
    assert not list(tmp_path.iterdir())


def test_without_labels_no_training_accuracy_is_reported(cache, tmp_path):
    settings = TrainingSettings(epochs=1, w_ce=0.0)
    _, records = train(tmp_path / "run", "finetune", relabelled(cache, "train", -1), settings)
    assert "train_accuracy" not in records[0]


@pytest.mark.parametrize("name", ["w_ce", "w_kl"])
def test_stage_1_refuses_losses_of_stage_2_by_name(cache, tmp_path, name):
    settings = TrainingSettings(**{"w_ce": 0.0, "w_kl": 0.0, name: 1.0})
    with pytest.raises(InputError, match=f"{name} = 1.0: stage 1 sees no labels"):
        train(tmp_path / "run", "pretrain", cache, settings)


def test_the_longest_sentence_is_the_caches(cache, tmp_path):
    longest = int(np.diff(cache.offsets).max())
    cache = cache._replace(manifest=cache.manifest | {"max_tokens": 202})
    config = student_config(cache, width=8, heads=2)
    assert config.max_tokens == 202
    short = student_config(cache, width=8, heads=2, max_tokens=longest - 1)
    params = new_student(cache, short, STAGE2)
    with pytest.raises(InputError, match=f"{longest} tokens.*max_tokens is {longest - 1}"):
        run_stage(tmp_path / "run", "finetune", cache, params, short, STAGE2, tables={})


def test_the_teachers_words_need_a_student_of_their_width(cache, tmp_path):
    narrow = student_config(cache, width=4, heads=2, projection=False)
    assert narrow.embedding_width == 4
    with pytest.raises(InputError, match="6 wide, the student's 4"):
        new_student(cache, narrow, STAGE2)
    params = new_student(cache, narrow, TrainingSettings(embedding="random"))
    with pytest.raises(InputError, match=r"6 wide, the student's 4.*--w-emb 0"):
        run_stage(tmp_path / "run", "finetune", cache, params, narrow, STAGE2, tables={})


def test_a_student_starts_from_the_teachers_words_at_a_spread_of_1(cache):
    rows, scale = teacher_word_rows(cache)
    words = cache.word_embeddings.astype(np.float32)
    assert words.std() < 0.1
    assert rows.std() == pytest.approx(1, rel=1e-5)
    np.testing.assert_allclose(rows, words * scale, rtol=1e-6)
    config = student_config(cache, width=8, heads=2)
    for embedding, same in (("teacher", True), ("random", False)):
        start = new_student(cache, config, TrainingSettings(embedding=embedding))
        assert np.array_equal(start["embedding.weight"], rows) == same


class Watched:
    """What train() hands to its parts."""

    def __init__(self, monkeypatch):
        self.norms, self.rates, self.decays, self.batches = [], [], [], []
        step, batch = optim.adamw_step, loop.make_batch

        def watched_step(params, grads, state, *, learning_rate, weight_decay, **how):
            arrays = [getattr(grad, "rows", grad) for grad in grads.values()]
            self.norms.append(np.sqrt(sum(np.square(a, dtype=float).sum() for a in arrays)))
            self.rates.append(learning_rate)
            self.decays.append(weight_decay)
            rate = {"learning_rate": learning_rate, "weight_decay": weight_decay}
            return step(params, grads, state, **rate, **how)

        def watched_batch(ids, offsets, labels, index):
            self.batches.append(index)
            return batch(ids, offsets, labels, index)

        monkeypatch.setattr(optim, "adamw_step", watched_step)
        monkeypatch.setattr(loop, "make_batch", watched_batch)


def run_loop(cache, settings, corpus=None, dropout=0.0):
    """The student before training, its config, and the records of train()."""
    config = student_config(cache, width=8, heads=2, blocks=2, steps=3, dropout=dropout)
    start, params = (new_student(cache, config, settings) for _ in range(2))
    records = []
    loop.train(
        params,
        config,
        settings,
        corpus or split_corpus(cache, "train"),
        word_rows=teacher_word_rows(cache)[0],
        log=records.append,
        quiet=True,
    )
    return start, config, records


def test_every_step_is_clipped_decayed_and_at_the_schedules_rate(cache, monkeypatch):
    watched = Watched(monkeypatch)
    settings = TrainingSettings(
        epochs=4, batch_tokens=10_000, learning_rate=0.02, warmup=0.5, weight_decay=0.3,
        clip_norm=0.01,
    )  # fmt: skip
    run_loop(cache, settings)
    # Two steps up to the peak, then half a cosine: cos(0) and cos(pi / 2).
    assert watched.rates == pytest.approx([0.01, 0.02, 0.02, 0.01])
    assert watched.decays == [0.3] * 4
    # Clipped, not merely small: unclipped, the norm is far from 0.01.
    assert watched.norms == pytest.approx([0.01] * 4, rel=1e-4)


def test_each_epoch_sees_every_sentence_in_an_order_of_its_own(cache, monkeypatch):
    watched = Watched(monkeypatch)
    _, _, records = run_loop(cache, TrainingSettings(epochs=2, batch_tokens=64))
    half = records[0]["step"]
    orders = [np.concatenate(part) for part in (watched.batches[:half], watched.batches[half:])]
    for order in orders:
        assert sorted(order) == list(range(40))
        assert (np.diff(order) != 1).mean() > 0.8
    assert not np.array_equal(*orders)


def test_stage_1_sees_the_sentences_with_hidden_states_alone(tmp_path, monkeypatch):
    cache = make_cache(tmp_path / "few", hidden_sentences=10)
    watched = Watched(monkeypatch)
    train(tmp_path / "run", "pretrain", cache, STAGE1)
    assert set(np.concatenate(watched.batches)) == set(range(10))
    corpus = stage1_corpus(cache)
    assert len(corpus.offsets) == 11
    assert corpus.hidden[0].shape == (corpus.offsets[-1], TEACHER_WIDTH)


def test_stage_1_learns_nothing_from_dev(tmp_path, monkeypatch):
    cache = make_cache(tmp_path / "all")  # hidden states of train and dev
    watched = Watched(monkeypatch)
    train(tmp_path / "run", "pretrain", cache, STAGE1)
    assert set(np.concatenate(watched.batches)) == set(range(*cache.splits["train"]))


def test_dropout_is_on_in_training(cache):
    settings = TrainingSettings(epochs=1, batch_tokens=10_000)
    losses = [run_loop(cache, settings, dropout=rate)[2][0]["ce"] for rate in (0.0, 0.5)]
    assert abs(losses[0] - losses[1]) > 1e-4


def test_the_reported_means_are_those_of_all_sentences(cache):
    # At this rate nothing moves, so an epoch of several batches of unequal size measures the start.
    settings = TrainingSettings(epochs=1, batch_tokens=70, learning_rate=1e-12, temperature=3.0)
    corpus = split_corpus(cache, "train")
    start, config, records = run_loop(cache, settings)
    assert records[0]["step"] > 2
    logits = predict_logits(start, config, corpus.ids, corpus.offsets)
    ce, _ = cross_entropy_forward(logits, corpus.labels)
    kl, _ = kl_divergence_forward(logits, corpus.logits, temperature=3.0)
    untempered, _ = kl_divergence_forward(logits, corpus.logits)
    expected = float((log_softmax(logits).argmax(axis=1) == corpus.labels).mean())
    assert records[0]["ce"] == pytest.approx(ce, rel=1e-4)
    assert records[0]["kl"] == pytest.approx(kl, rel=1e-4)
    assert abs(kl - untempered) > 0.01
    assert 0 < expected < 1
    assert records[0]["train_accuracy"] == pytest.approx(expected, abs=1e-9)
    weights = (0.1, 1.0, 0.1, 0.1)
    parts = [records[0][name] for name in ("ce", "kl", "feat", "emb")]
    assert records[0]["loss"] == pytest.approx(np.dot(weights, parts), rel=1e-4)


def test_stage_2_learns_from_further_caches_too(cache, tmp_path):
    other = make_cache(
        tmp_path / "other",
        train=15,
        seed=8,
        labelled=False,
        word_embeddings=cache.word_embeddings,
    )
    corpus, dev = stage_corpora(cache, "finetune", [other])
    first, second = split_corpus(cache, "train"), split_corpus(other, "train")
    assert len(corpus.offsets) - 1 == 40 + 15
    assert (corpus.labels[40:] == -1).all()
    assert np.array_equal(corpus.labels[:40], first.labels)
    for number, (part, sentence) in {0: (first, 0), 39: (first, 39), 54: (second, 14)}.items():
        rows = np.arange(corpus.offsets[number], corpus.offsets[number + 1])
        start, stop = part.offsets[sentence : sentence + 2]
        assert np.array_equal(corpus.ids[rows], part.ids[start:stop])
        assert np.array_equal(corpus.logits[number], part.logits[sentence])
        for block, states in corpus.hidden.items():
            assert np.array_equal(states[rows], part.hidden[block][np.arange(start, stop)])
    assert np.array_equal(dev.ids, split_corpus(cache, "dev").ids)


def test_the_training_accuracy_is_that_of_the_labelled_sentences(cache):
    settings = TrainingSettings(epochs=1, batch_tokens=70, learning_rate=1e-12)
    corpus = split_corpus(cache, "train")
    start, config, records = run_loop(cache, settings)
    logits = predict_logits(start, config, corpus.ids, corpus.offsets)
    right = logits.argmax(axis=1) == corpus.labels
    for known in (np.arange(40) < 15, np.arange(40) < 1):  # one: most batches have no label
        labels = np.where(known, corpus.labels, -1)
        _, _, records = run_loop(cache, settings, corpus._replace(labels=labels))
        assert records[0]["step"] > 2
        assert records[0]["train_accuracy"] == pytest.approx(right[known].mean(), abs=1e-9)


def test_further_caches_must_be_by_the_same_teacher(cache, tmp_path):
    other = make_cache(tmp_path / "other", seed=8)
    with pytest.raises(InputError, match="its teacher is not that of"):
        stage_corpora(cache, "finetune", [other])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda cache: {"manifest": {"teacher": {"sha256": "another"}}}, "its teacher"),
        (lambda cache: {"logits": cache.logits[:, [0, 1, 1]]}, "its number of classes"),
        (lambda cache: {"logits": None}, "its number of classes"),
    ],
)
def test_logits_that_cannot_be_joined_are_refused(cache, change, words):
    with pytest.raises(InputError, match=f"{words} is not that of"):
        stage_corpora(cache, "finetune", [cache._replace(**change(cache))])


def test_sentences_of_dev_are_not_learnt_from_a_further_cache(cache):
    # A cache whose train split is all of the first one, dev too.
    other = cache._replace(splits={"train": (0, 52)})
    corpus, dev = stage_corpora(cache, "finetune", [other])
    assert len(dev.offsets) - 1 == 12
    assert np.array_equal(corpus.ids, np.tile(split_corpus(cache, "train").ids, 2))
    assert has_hidden(corpus)
    only_dev = cache._replace(splits={"train": cache.splits["dev"]})
    corpus, _ = stage_corpora(cache, "finetune", [only_dev])
    assert np.array_equal(corpus.ids, split_corpus(cache, "train").ids)


def test_a_block_is_never_given_two_layers(cache):
    swapped = dict(zip(cache.student_blocks, reversed(cache.student_blocks.values()), strict=True))
    corpus, _ = stage_corpora(cache, "finetune", [cache._replace(student_blocks=swapped)])
    assert not has_hidden(corpus)


def test_joined_int8_states_are_not_narrowed():
    # 100,000 is more than a float16 can be.
    rows = HiddenRows([np.array([[127, 1]], np.int8)], [np.array([1e5 / 127], np.float32)])
    part = Corpus(np.zeros(1, np.int32), np.array([0, 1]), None, None, {0: rows})
    states = join_corpora([part, part]).hidden[0][np.array([1])]
    assert states.dtype == np.float32
    np.testing.assert_allclose(states, [[1e5, 1e5 / 127]], rtol=1e-6)


def test_hidden_states_of_a_part_of_a_further_cache_are_left_out(cache, tmp_path):
    other = make_cache(tmp_path / "other", hidden_sentences=5)
    assert not has_hidden(stage_corpora(cache, "finetune", [other])[0])


def test_contextual_rows_are_the_means_of_what_the_teacher_makes_of_a_word(cache):
    corpus = split_corpus(cache, "train")
    rows = contextual_word_rows(cache, corpus)
    states = np.asarray(corpus.hidden[0], np.float64)  # (N, D)
    ids, words = np.asarray(corpus.ids), cache.word_embeddings.astype(np.float64)
    count = np.array([(ids == v).sum() for v in range(len(words))])
    seen = count > 0
    assert 0 < seen.sum() < len(seen)
    means = np.array([states[ids == v].mean(axis=0) for v in np.flatnonzero(seen)])
    weight = np.minimum(count[seen], 20)[:, None]
    centre, middle = np.average(words[seen], 0, weight[:, 0]), np.average(means, 0, weight[:, 0])
    x = np.sqrt(weight) * (words[seen] - centre)
    ridge = 0.01 * np.trace(x.T @ x) / x.shape[1]
    # Ridge regression as least squares on more rows.
    stacked = np.vstack([x, np.sqrt(ridge) * np.eye(x.shape[1])])
    target = np.vstack([np.sqrt(weight) * (means - middle), np.zeros_like(x.T @ x)])
    expected = (words - centre) @ np.linalg.lstsq(stacked, target, rcond=None)[0] + middle
    n = count[seen][:, None]
    expected[seen] = (n * means + 3 * expected[seen]) / (n + 3)
    expected = (expected - expected.mean(0)) / expected.std(0)
    np.testing.assert_allclose(rows, expected, atol=1e-4)


def test_contextual_rows_are_where_a_student_starts_and_what_w_emb_holds(cache, tmp_path):
    settings = TrainingSettings(epochs=1, embedding="contextual", w_emb=1.0, learning_rate=1e-9)
    config = student_config(cache, width=8, heads=2, blocks=2, steps=3)
    rows = contextual_word_rows(cache, split_corpus(cache, "train"))
    params = new_student(cache, config, settings)
    assert np.array_equal(params["embedding.weight"], rows)
    _, records = train(tmp_path / "run", "finetune", cache, settings, params)
    assert records[0]["emb"] < 1e-10


def test_contextual_rows_need_hidden_states(cache):
    bare = split_corpus(cache, "train")._replace(hidden={})
    with pytest.raises(InputError, match="has no hidden states to average"):
        contextual_word_rows(cache, bare)


def test_a_run_names_the_crossing_that_is_not_the_packages(cache, monkeypatch):
    monkeypatch.delenv("SPIKEBERT_EVENTS_UP_TO", raising=False)
    assert "events_up_to" not in run_tables("finetune", cache, STAGE2, name="mine")["data"]
    monkeypatch.setenv("SPIKEBERT_EVENTS_UP_TO", "0.9")
    assert run_tables("finetune", cache, STAGE2, name="mine")["data"]["events_up_to"] == 0.9
