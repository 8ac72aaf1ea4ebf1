"""`spikebert ablate` on tiny caches: what a variant changes, what is run, what is written."""

import json
import threading
from pathlib import Path

import pytest
from tiny import TEACHER_WIDTH, last_json, make_cache

from spikebert_np.analysis.comparison_plot import comparison_figure
from spikebert_np.cli import main
from spikebert_np.commands.ablation import first_of
from spikebert_np.commands.steps import Step, locked, make_plan, run_plan
from spikebert_np.training.ablations import VARIANTS, Budget, setups, spread
from spikebert_np.training.checkpoint import load_run
from spikebert_np.training.estimate import Estimate

BUDGET = Budget(width=8, epochs=1)
DONE = ["base", "stage1-fifth", "stage1", "no-kl"]
SMALL = ["--width", "8", "--epochs", "1", "--quiet"]


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """What `spikebert reproduce` leaves after its caches."""
    out = tmp_path_factory.mktemp("ablate")
    make_cache(out)
    make_cache(out / "text", labelled=False, seed=3)
    (out / "text" / "cache").rename(out / "stage1-cache")
    return out


def ablate(out, to, *options):
    return main(["ablate", str(out), "--to", str(to), *SMALL, *options])


@pytest.fixture(scope="module")
def done(out):
    """Two variants and two with a stage 1, for two seeds."""
    assert ablate(out, out / "done", "--only", ",".join(DONE), "--seeds", "2") == 0
    return out / "done"


def test_every_variant_changes_one_thing_of_the_row_it_is_beside():
    found = setups(BUDGET, TEACHER_WIDTH)
    assert list(found) == [variant.name for variant in VARIANTS]
    for name, setup in found.items():
        beside = found[setup.variant.beside]
        if name in ("base", "wide"):
            assert setup is beside
            continue
        changed = {key for key in setup.model if setup.model[key] != beside.model.get(key)}
        training = vars(setup.training).items()
        changed |= {key for key, value in training if value != vars(beside.training)[key]}
        changed |= {"stage1"} if setup.variant.stage1 else set()
        expected = {
            "direct": {"w_ce", "w_kl", "w_feat", "w_emb", "embedding"},
            "no-order": {"positions", "kernel_width"},
        }.get(name)
        assert changed == expected if expected else len(changed) == 1, name
    assert found["wide-no-tap"].model["width"] == TEACHER_WIDTH
    assert found["soft-reset"].model["neuron"].reset == "soft"
    assert found["no-attention"].model["attention"] is False
    # No gap: where depth stops to help is read off the rows.
    depths = {setup.model["blocks"] for setup in found.values()}
    assert depths == {1, 2, 3, 4, 5, 6}


@pytest.mark.parametrize(
    ("layers", "blocks", "expected"),
    [
        ((3, 6), 2, {3: 0, 6: 1}),
        ((3, 6), 1, {6: 0}),
        ((3, 6), 4, {3: 1, 6: 3}),
        ((3, 6), 3, {3: 0, 6: 2}),
        ((1, 2, 3, 4), 2, {2: 0, 4: 1}),
        ((5,), 6, {5: 5}),
    ],
)
def test_layers_are_spread_over_the_blocks(tmp_path, layers, blocks, expected):
    cache = spread(make_cache(tmp_path, layers=layers, train=3, dev=2), blocks)
    assert cache.student_blocks == expected
    assert cache.hidden.keys() == expected.keys()


def test_runs_table_and_plot(done, capsys):
    names = {f"{name}/seed{seed}" for name in DONE for seed in (0, 1)}
    found = {str(path.parent.relative_to(done)) for path in done.rglob("metrics.jsonl")}
    assert found == names | {"stage1/weights", "stage1-fifth/weights"}
    assert not list(done.glob("*/seed*/model.safetensors"))
    assert (done / "ablations.png").stat().st_size > 1000
    table = json.loads((done / "ablations.json").read_text("utf-8"))
    rows = {row["name"]: row for row in table["rows"]}
    assert list(rows) == DONE
    for name, row in rows.items():
        scores = [
            max(json.loads(line)["dev_accuracy"] for line in path.read_text().splitlines())
            for path in sorted(done.glob(f"{name}/seed*/metrics.jsonl"))
        ]
        assert row["mean"] == pytest.approx(sum(scores) / 2)
        assert (row["lowest"], row["highest"]) == (min(scores), max(scores))
        assert row["seeds"] == [0, 1]
    assert rows["base"]["difference"] is None
    assert rows["no-kl"]["difference"] == rows["no-kl"]["mean"] - rows["base"]["mean"]
    params = load_run(done / "stage1" / "weights").params
    words = params.pop("embedding.weight").size
    assert rows["base"]["parameters"] == sum(value.size for value in params.values()) < words * 100
    page = (done / "ABLATIONS.md").read_text("utf-8")
    assert "spikebert ablate" in page
    assert "40 sentences in all" in page
    assert f"{100 * rows['no-kl']['difference']:+.1f}" in page


def test_a_run_leaves_its_loss_out_and_one_begins_from_stage_1(done):
    config = (done / "no-kl" / "seed1" / "config.toml").read_text("utf-8")
    assert "w_kl = 0.0" in config
    assert "seed = 1" in config
    assert 'init = ""' in config
    first = json.loads((done / "no-kl" / "seed1" / "metrics.jsonl").read_text().splitlines()[0])
    assert "kl" not in first
    for name in ("stage1", "stage1-fifth"):
        config = (done / name / "seed0" / "config.toml").read_text("utf-8")
        assert f'init = "{done / name / "weights"}"' in config
        assert "new_words = true" in config


def test_a_share_of_the_text_is_its_first_sentences(tmp_path):
    text = make_cache(tmp_path, labelled=False)
    assert text.splits["train"] == (0, 40)
    for share, sentences in ((1.0, 40), (0.2, 8), (0.001, 1)):
        assert first_of(text, share).splits == {"train": (0, sentences)}


def test_what_is_done_stays_and_other_variants_join_the_table(out, done, capsys):
    before = {path: path.stat().st_mtime_ns for path in done.rglob("metrics.jsonl")}
    only = "wide-no-tap,batch-norm,depth-1"
    assert ablate(out, done, "--only", only, "--seeds", "1", "--json") == 0
    result = last_json(capsys.readouterr().out)
    names = [row["name"] for row in result["rows"]]
    assert names == [*DONE, "wide-no-tap", "depth-1", "batch-norm"]
    rows = {row["name"]: row for row in result["rows"]}
    assert rows["wide-no-tap"]["difference"] is None  # its row, wide, is not there
    assert rows["depth-1"]["difference"] is not None
    for path, time in before.items():
        assert path.stat().st_mtime_ns == time


def test_runs_of_another_budget_are_refused_by_name(out, done, capsys):
    assert ablate(out, done, "--only", "base", "--epochs", "2") == 2
    error = capsys.readouterr().err
    assert "base/seed0.training.epochs" in error
    # Of variants that are not asked for, too: they would stand in the same table.
    assert ablate(out, done, "--only", "cosine", "--epochs", "2", "--seeds", "1") == 2


def test_another_share_of_events_is_refused_by_name(out, done, monkeypatch, capsys):
    monkeypatch.setenv("SPIKEBERT_EVENTS_UP_TO", "0.5")
    assert ablate(out, done, "--only", "base") == 2
    assert "made with SPIKEBERT_EVENTS_UP_TO = 0.22, but now it is 0.5" in capsys.readouterr().err


def test_a_budget_is_refused_before_anything_is_trained(out, tmp_path, capsys):
    to = ["ablate", str(out), "--to", str(tmp_path / "to"), "--seeds", "1", "--quiet"]
    assert main([*to, "--width", "8", "--epochs", "1", "--only", "base"]) == 0
    assert main([*to, "--width", "8", "--epochs", "2", "--only", "no-kl"]) == 2
    assert "base/seed0: was made with " in capsys.readouterr().err
    assert not (tmp_path / "to" / "no-kl").exists()


def test_the_steps_of_reproduce_are_not_shadowed(out, capsys):
    before = sorted(out.iterdir())
    for command in ("ablate", "depth"):
        assert main([command, str(out), "--to", str(out)]) == 2
        assert "holds the steps of `spikebert reproduce`" in capsys.readouterr().err
    assert sorted(out.iterdir()) == before


def test_a_name_that_is_none_is_refused(out, tmp_path, capsys):
    assert ablate(out, tmp_path / "to", "--only", "base,no-kll") == 2
    assert "no-kll is not one of base, stage1-fifth" in capsys.readouterr().err
    assert not (tmp_path / "to").exists()


def test_what_the_caches_lack_is_said_first(tmp_path, capsys):
    assert ablate(tmp_path, tmp_path / "to") == 2
    assert "cache: no such cache" in capsys.readouterr().err
    make_cache(tmp_path)
    assert ablate(tmp_path, tmp_path / "to", "--only", "stage1") == 2
    assert "stage1 needs" in capsys.readouterr().err
    make_cache(tmp_path / "few", hidden_sentences=10)
    assert ablate(tmp_path / "few", tmp_path / "to") == 2
    assert "hidden states for only part" in capsys.readouterr().err


def test_two_commands_on_one_folder_wait_for_each_other(tmp_path):
    made = []

    def make(folder):
        made.append(folder.name)
        folder.mkdir()
        (folder / "file").touch()

    steps = [Step("one", (), {}, Estimate(), make), Step("two", (), {}, Estimate(), make)]
    plans = [make_plan(tmp_path, steps, {}) for _ in range(2)]
    with locked(Path(tmp_path / "one")):
        other = threading.Thread(target=run_plan, args=[plans[0]])
        other.start()
        other.join(0.3)
        assert not made
    other.join(30)
    run_plan(plans[1])
    assert made == ["one", "two"]
    assert not list(tmp_path.rglob(".*"))


def test_the_plot_marks_what_rows_are_compared_with():
    rows = [
        {"name": name, "label": label, "beside": "base", "mean": 0.8, "lowest": 0.7, "highest": 0.9}
        for name, label in (("base", "the base"), ("no-kl", "without KL"))
    ]
    figure = comparison_figure(rows, title="What")
    (axis,) = figure.axes
    assert [text.get_text() for text in axis.get_yticklabels()] == ["the base", "without KL"]
    spreads = [line.get_xdata() for line in axis.lines if len(line.get_xdata()) == 2]
    assert [list(map(float, spread)) for spread in spreads] == [[0.7, 0.9], [0.7, 0.9]]
    colours = {line.get_color() for line in axis.lines}
    assert len(colours) == 2
    assert axis.yaxis_inverted()
