"""A penalty on the firing rate in a whole run, and `spikebert sparsity` on a tiny cache."""

import json

import pytest
from tiny import make_cache

from spikebert_np.analysis.sparsity_plot import sparsity_figure
from spikebert_np.cli import main

ARGS = ["--width", "8", "--epochs", "2", "--seeds", "1", "--rates", "30", "--quiet"]


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return make_cache(tmp_path_factory.mktemp("sparsity"), train=120).tokenizer.parent.parent


def test_command_table_and_plot(out, capsys):
    assert main(["sparsity", str(out), *ARGS, "--json"]) == 0
    output = capsys.readouterr()
    assert "%|" not in output.err  # --quiet: no bar
    rows = json.loads(output.out.splitlines()[-1])["rows"]
    assert [row["w_rate"] for row in rows] == [0.0, 30.0]
    (free,), (penalised,) = (row["runs"] for row in rows)
    assert penalised["firing_rate"] < free["firing_rate"]
    assert penalised["microjoules"] < free["microjoules"]
    assert free["step"] == 1.0
    assert penalised["step"] > 0
    page = (out / "sparsity" / "SPARSITY.md").read_text("utf-8")
    assert (
        f"| 30 | {100 * penalised['firing_rate']:.2f} | {penalised['dev_accuracy']:.3f} |" in page
    )
    assert "--rates 0,30 --width 8 --epochs 2" in page
    assert (out / "sparsity" / "sparsity.png").stat().st_size > 1000
    # The weight, and the rate, stand in the run; where the weight is 0, only the rate as measured.
    for name, is_loss in (("rate-0.0", False), ("rate-30.0", True)):
        run = out / "sparsity" / name / "seed0"
        record = json.loads((run / "metrics.jsonl").read_text().splitlines()[0])
        assert ("rate" in record) == is_loss
        assert not is_loss or record["rate"] == pytest.approx(record["firing_rate"])
    assert main(["sparsity", str(out), *ARGS]) == 0
    assert "done  rate-30.0/seed0" in capsys.readouterr().out


def test_a_record_that_lacks_a_setting_is_refused_by_name(out, capsys):
    assert main(["sparsity", str(out), *ARGS]) == 0
    record = out / "sparsity" / "rate-30.0" / "seed0.json"
    kept = record.read_text()
    old = json.loads(kept)
    del old["settings"]["rate-30.0/seed0"]["training"]["w_rate"]
    record.write_text(json.dumps(old))
    capsys.readouterr()
    assert main(["sparsity", str(out), *ARGS]) == 2
    assert "training.w_rate = absent, but now it is 30.0" in capsys.readouterr().err
    record.write_text(kept)


def test_weights_that_are_none_are_refused(out, capsys):
    for rates in ("-1", "many", "nan", ""):
        with pytest.raises(SystemExit):
            main(["sparsity", str(out), f"--rates={rates}"])
        assert "give numbers from 0 up" in capsys.readouterr().err


def test_a_model_without_spikes_is_refused(out, tmp_path, capsys):
    args = ["finetune", "--cache", str(out / "cache"), "--model", "textcnn", "--w-rate", "1"]
    assert main([*args, "--out", str(tmp_path / "run"), "--quiet"]) == 2
    error = capsys.readouterr().err
    assert "w_rate = 1.0: a textcnn has no spikes to penalise; set --w-rate 0" in error
    assert not (tmp_path / "run").exists()


def test_the_plot_has_a_dot_a_run_and_a_line_through_the_means():
    run = {"firing_rate": 0.05, "dev_accuracy": 0.8, "step": 1.0, "microjoules": 3.0}
    rows = [{"w_rate": 0.0, "runs": [run, run]}, {"w_rate": 3.0, "runs": [run, run]}]
    for axis in sparsity_figure(rows).axes:
        assert [len(line.get_xdata()) for line in axis.lines] == [2, 2, 2]
        assert [text.get_text() for text in axis.texts] == ["0", "3"]
