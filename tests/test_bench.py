"""`spikebert bench`: what it compares is what it says. No test here asserts a time."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from tiny import last_json

from spikebert_np.benchmarks import lif, profile, students, suite
from spikebert_np.benchmarks.timing import Ratio, alternate, ratio
from spikebert_np.benchmarks.training_step import DenseFloor, linear_products, new_step
from spikebert_np.cli import main
from spikebert_np.commands import bench
from spikebert_np.data.shipped import TOY
from spikebert_np.models.spikebert import SpikeBertConfig, init_spikebert
from spikebert_np.models.textcnn import TextCNNConfig, init_textcnn
from spikebert_np.training.checkpoint import config_tables, save_weights, write_config

REQUIRED = {
    "step_over_floor", "vs_spikingjelly", "vs_snntorch", "epoch_vs_padded", "lif_vs_spikingjelly",
    "lif_over_bandwidth", "inference_vs_dense", "inference_vs_onnxruntime", "firing_rate",
}  # fmt: skip
LENGTHS = (3, 9, 5)  # in a head of width 4, one attends by n x n and two by E x E
CONFIG = SpikeBertConfig(
    vocab_size=65, width=8, heads=2, blocks=2, embedding_width=6, teacher_width=5, classes=3
)


def make_student(config=CONFIG, lengths=LENGTHS):
    rng = np.random.default_rng(5)
    params = init_spikebert(config, rng)
    for key in params:
        if key.endswith("norm.bias"):
            params[key] += 1  # or nothing would fire
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    ids = rng.integers(0, config.vocab_size, offsets[-1]).astype(np.int32)
    return students._student("made up", config, params, ids, offsets)


@pytest.fixture(scope="module")
def student():
    return make_student()


def test_sides_take_turns_on_the_same_work():
    calls = []
    sides = {name: lambda work, name=name: calls.append((name, work)) for name in "ab"}
    times = alternate(sides, [10, 20, 30])
    assert [name for name, _ in calls] == ["a", "b", "b", "a", "a", "b", "b", "a"]
    assert [work for _, work in calls] == [10, 10, 10, 10, 20, 20, 30, 30]
    assert times["a"].shape == times["b"].shape == (3, 2)


def test_a_ratio_is_the_median_of_each_rounds_own():
    under = np.array([[1.0, 2.0], [10.0, 2.0], [100.0, 2.0], [1.0, 2.0], [1.0, 2.0]])
    over = under * [[1, 3], [2, 3], [3, 4], [4, 5], [5, 6]]
    assert ratio(over, under) == Ratio(3.0, 2.0, 4.0, 4.0)


def test_the_floor_has_every_weight_of_the_model(student):
    """Each weight matrix takes part in one product; q, k and v in one together."""
    products = list(linear_products(CONFIG, 17, 3))
    lookups = {"embedding.weight", "embedding.positions"}
    sizes = [v.size for k, v in student.params.items() if v.ndim == 2 and k not in lookups]
    assert sum(width_in * width_out for _, width_in, width_out in products) == sum(sizes)
    steps = 4 * 17
    assert products == [
        (17, 3 * 6, 8),
        *2 * [(steps, 8, 24), (steps, 8, 8), (steps, 8, 32), (steps, 32, 8), (17, 8, 5)],
        (3, 8, 3),
    ]


def test_the_floor_counts_an_input_that_all_steps_share_once():
    config = replace(CONFIG, encoder="heaviside")
    rows = [product[0] for product in linear_products(config, 17, 3) if product[2] == 24]
    assert rows == [17, 4 * 17]


def test_the_floor_is_the_operations_of_the_step():
    floor = DenseFloor(CONFIG, np.cumsum([0, *LENGTHS]))
    linear = sum(3 * 2 * np.prod(product) for product in linear_products(CONFIG, 17, 3))
    # Six products a head, step, block and sentence: n x n x E, or n x E x E where that is less.
    attention = 2 * 4 * 2 * sum(6 * 2 * n * 4 * min(n, 4) for n in LENGTHS)
    assert floor.operations() == linear + attention
    floor()
    blind = DenseFloor(replace(CONFIG, attention=False), np.cumsum([0, *LENGTHS]))
    assert blind.operations() < linear


def test_the_floor_multiplies(monkeypatch, student):
    """Every product of the list is done at each call, into its own buffer."""
    floor = DenseFloor(CONFIG, np.cumsum([0, *LENGTHS]))
    for _, _, out in floor._jobs:
        out[...] = np.nan
    done = []
    multiply = np.matmul
    monkeypatch.setattr(np, "matmul", lambda a, b, out: done.append(1) or multiply(a, b, out=out))
    floor()
    assert len(done) == len(floor._jobs) == 3 * 12 + 6 * 2 * 3


def test_a_step_leaves_the_student_as_it_was(student):
    before = {key: value.copy() for key, value in student.params.items()}
    work = students.draw_batches(student, 1)[0]
    step = new_step(student)
    losses = [step(work).loss for _ in range(2)]
    # Dropout aside, the second step sees the same student.
    assert abs(losses[1] - losses[0]) < 0.5 * losses[0]
    for key, value in student.params.items():
        np.testing.assert_array_equal(value, before[key])


def test_batches_are_drawn_from_the_corpus_with_targets_that_fit(student):
    works = students.draw_batches(student, 2, sentences=4)
    for batch, targets in works:
        assert len(batch.index) == len(targets.labels) == 4
        assert set(targets.hidden) == {0, 1}
        assert targets.hidden[1].shape == (len(batch.ids), 5)
        assert targets.hidden[1].dtype == np.float32
        for i, number in enumerate(batch.index):
            own = student.ids[student.offsets[number] : student.offsets[number + 1]]
            np.testing.assert_array_equal(own, batch.ids[slice(*batch.offsets[i : i + 2])])
    assert (works[0][0].index != works[1][0].index).any()


def test_padding_makes_all_sentences_of_one_length(student):
    work = students.draw_batches(student, 1, sentences=3)[0]
    padded, targets = suite.pad(student, work, length=6)
    assert padded.offsets.tolist() == [0, 6, 12, 18]
    assert targets.hidden[0].shape == (18, 5)
    for row, number in zip(padded.ids.reshape(3, 6), work[0].index, strict=True):
        own = student.ids[student.offsets[number] : student.offsets[number + 1]][:6]
        assert row.tolist() == [*own, *[0] * (6 - len(own))]


def test_the_neuron_fires_and_the_copy_moves_as_much(monkeypatch):
    x, ds = lif.draw_currents(0, 3000)
    s, dx = lif.run_lif(x, ds)
    assert 0.02 < s.mean() < 0.1
    assert (dx != 0).all()
    monkeypatch.setattr(lif, "BUFFER", 8 * x.size)
    move = lif.BytesMover(x)
    assert move.count * 2 == 7 * x.size
    move.source[:] = np.arange(len(move.source))
    starts = []
    for _ in range(4):
        move()
        starts.append(move.start)
    assert starts == [move.count, 2 * move.count] * 2
    np.testing.assert_array_equal(move.target[: 2 * move.count], move.source[: 2 * move.count])


def test_a_parts_time_is_its_own(monkeypatch):
    ticks = itertools.count()
    monkeypatch.setattr(profile, "process_time", lambda: next(ticks))
    parts = profile.Parts()
    inner = parts.timed(lambda: None, "inner", "forward")

    def work():
        inner()
        inner()

    parts.timed(work, "outer", "forward")()
    # The clock reads 0 (1 2) (3 4) 5: five ticks, two of them the inner part's.
    assert parts.seconds == {("inner", "forward"): 2, ("outer", "forward"): 3}


def test_every_part_of_a_step_is_seen_and_the_model_is_left_alone(student):
    from spikebert_np.models import spikebert

    before = spikebert.encoder_block_forward
    work = students.draw_batches(student, 1)[0]
    seconds = profile.profile_step(new_step(student), [work, work])
    expected = {
        (part, direction)
        for _, _, part in profile.BOTH_WAYS
        for direction in ("forward", "backward")
    }
    assert seconds.keys() == expected | {("update", ""), (profile.REST, "")}
    assert spikebert.encoder_block_forward is before


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A bench of everything, in small, of a package that ships no student."""
    monkeypatch.setattr(bench, "_shipped", lambda: None)
    monkeypatch.setattr(suite, "SHAPES", ((16, 3), (16, 2)))
    monkeypatch.setattr(students, "BRIEF_EPOCHS", 1)
    monkeypatch.setattr(lif, "NEURONS", 500)
    monkeypatch.setattr(lif, "BUFFER", 1 << 14)


def test_the_command_prints_ratios_first_and_json_last(small, capsys):
    assert main(["bench", "--rounds", "1", "--profile", "--json"]) == 0
    printed = capsys.readouterr().out
    row = last_json(printed)
    assert row.keys() >= REQUIRED
    assert row["step_over_floor"].keys() == {"d16_blocks3", "d16"}
    assert all(value > 0 for value in row["step_over_floor"].values())
    assert 0.005 < row["firing_rate"] < 0.5
    rivals = {key for key in row if "vs_" in key and "dense" not in key}
    assert all(row[key] is None for key in rivals)
    assert "--against torch" in printed
    assert row["versions"]["numpy"] == np.__version__
    lines = printed.splitlines()
    assert lines[0].split()[0] == "ratio"
    assert "step / dense floor, d16_blocks3" in lines[1]
    assert lines[1].rstrip().endswith("%")
    assert "trained for 1 epochs" in printed
    assert TOY in printed
    assert "layer norm + LIF" in printed


def test_what_cannot_be_measured_is_named_with_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setenv("SPIKEBERT_HOME", str(tmp_path))
    monkeypatch.setattr(suite, "is_installed", lambda name: name != "snntorch")
    missing = bench._missing("torch")
    assert missing.keys() == {"snntorch", "onnxruntime"}
    assert "pip install 'spikebert_np[oracles]'" in missing["snntorch"]
    assert "spikebert teacher get minilm" in missing["onnxruntime"]
    assert bench._missing(None).keys() == set(suite.RIVALS)


def write_run(folder, config, params):
    from spikebert_np.data.shipped import open_cache

    folder.mkdir()
    write_config(folder, config_tables(config))
    save_weights(folder, params, open_cache(TOY).tokenizer)
    return folder


def test_a_run_without_taps_gets_new_ones(tmp_path):
    config = replace(CONFIG, teacher_width=0)
    params = init_spikebert(config, np.random.default_rng(2))
    found = students.run_student(
        write_run(tmp_path / "run", config, params), ["the plot was dull", "sharp"]
    )
    assert found.config.teacher_width == config.embedding_width
    assert len(found.offsets) == 3
    for key, value in params.items():
        np.testing.assert_array_equal(found.params[key], value)
    work = students.draw_batches(found, 1, sentences=2)[0]
    assert np.isfinite(new_step(found)(work).loss)


def test_the_run_is_measured_first_and_no_shape_twice(tmp_path, small):
    params = init_spikebert(CONFIG, np.random.default_rng(2))
    config = replace(CONFIG, width=16, teacher_width=0)
    params = init_spikebert(config, np.random.default_rng(2))
    found = bench._students(write_run(tmp_path / "run", config, params), ["the plot was dull"])
    assert [student.name for student in found] == ["d16", "d16_blocks3"]
    assert found[0].origin == str(tmp_path / "run")
    # It is compared with the libraries too, where it was asked for.
    assert bench._main(found, tmp_path / "run") is found[0]
    assert bench._main(found, None) is found[1]
    # The other shape reads sentences of the same lengths.
    np.testing.assert_array_equal(found[0].offsets, found[1].offsets)


def test_a_baselines_run_is_refused(tmp_path, capsys):
    config = TextCNNConfig(vocab_size=65, classes=2)
    run = write_run(tmp_path / "run", config, init_textcnn(config, np.random.default_rng(0)))
    assert main(["bench", "--run", str(run)]) == 2
    assert "give the run of a spikebert" in capsys.readouterr().err


@pytest.mark.oracles
@pytest.mark.parametrize("library", suite.TORCH)
def test_a_rival_computes_what_we_do(student, library, monkeypatch):
    pytest.importorskip(library)
    from spikebert_np.benchmarks import neurons_torch, rivals_torch
    from spikebert_np.errors import InputError

    work = students.draw_batches(student, 1, sentences=3)[0]
    distance = rivals_torch.distance_from_ours(student, library, *work)
    assert distance <= rivals_torch.BOUNDS[library]
    x, ds = lif.draw_currents(1, 3000)
    for ours, theirs in zip(
        lif.run_lif(x, ds),
        neurons_torch.new_rival_lif(library, lif.NEURON)(x, ds),
        strict=True,
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    assert np.isfinite(rivals_torch.new_rival_step(student, library)(work))
    make = neurons_torch.LIFS[library]
    other = replace(CONFIG.neuron, tau=3.0)
    monkeypatch.setitem(neurons_torch.LIFS, library, lambda neuron, dtype: make(other, dtype))
    with pytest.raises(InputError, match="no rival"):
        rivals_torch.distance_from_ours(student, library, *work)


@pytest.mark.oracles
def test_a_sentence_of_any_length_is_padded_and_packed_again():
    torch = pytest.importorskip("torch")
    pytest.importorskip("spikingjelly")
    from spikebert_np.benchmarks.student_torch import Layout

    x = torch.randn(4, 17, 8)
    layout = Layout(np.cumsum([0, *LENGTHS]))
    padded = layout.pad(x)
    assert padded.shape == (4, 3, 9, 8)
    assert torch.equal(layout.pack(padded), x)
    assert torch.equal(padded[:, 0, 3:], torch.zeros(4, 6, 8))
    assert torch.allclose(layout.mean(x)[:, 1], x[:, 3:12].mean(dim=1), atol=1e-6)


@pytest.mark.oracles
def test_the_teacher_under_onnxruntime_is_ours():
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from test_bert_gradients import CONFIG as BERT
    from test_bert_gradients import IDS, OFFSETS, random_params

    from spikebert_np.benchmarks import teacher_onnx
    from spikebert_np.errors import InputError
    from spikebert_np.models.bert import BertConfig

    config = BertConfig(**BERT)
    params = {key: value.astype(np.float32) for key, value in random_params(config).items()}
    infer = teacher_onnx.new_teacher_inference(config, params, 1)
    distance = teacher_onnx.distance_from_ours(infer, config, params, IDS, OFFSETS)
    assert distance < teacher_onnx.BOUND
    key = "blocks.1.feed_forward.up.bias"
    changed = params | {key: params[key] + 1}
    with pytest.raises(InputError, match="no rival"):
        teacher_onnx.distance_from_ours(infer, config, changed, IDS, OFFSETS)
