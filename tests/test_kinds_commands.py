"""`spikebert finetune --model`, and the commands that read such runs, as a user types them."""

import tomllib

import pytest
from tiny import last_json, make_cache

from spikebert_np.cli import main
from spikebert_np.models.spiking_textcnn import SpikingTextCNNConfig
from spikebert_np.models.textcnn import TextCNNConfig
from spikebert_np.training.checkpoint import load_run

SMALL = ["--filters", "6", "--kernel-widths", "2,3", "--epochs", "1", "--quiet"]
SPIKING = ["--width", "8", "--steps", "3", "--tau", "1.5", "--v-th", "0.5"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kinds")
    make_cache(folder)
    (folder / "held_out.dev").write_text("1 the film is good\n0 the film is bad\n")
    return folder


def finetune(folder, out, *args):
    cache = ["--cache", str(folder / "cache")]
    return main(["finetune", *cache, "--out", str(folder / out), *args])


@pytest.fixture(scope="module")
def runs(folder):
    assert finetune(folder, "textcnn", "--model", "textcnn", *SMALL) == 0
    args = ["--model", "spiking_textcnn", *SMALL, *SPIKING]
    assert finetune(folder, "spiking_textcnn", *args) == 0
    assert finetune(folder, "spikebert", "--width", "8", "--epochs", "0", "--quiet") == 0
    return folder


@pytest.mark.parametrize(
    ("name", "config", "fires"),
    [("textcnn", TextCNNConfig, False), ("spiking_textcnn", SpikingTextCNNConfig, True)],
)
def test_a_baseline_is_trained_scored_and_asked(runs, capsys, name, config, fires):
    run = load_run(runs / name)
    assert type(run.config) is config
    assert run.config.kernel_widths == (2, 3)
    assert run.config.embedding_width == 6
    assert run.tables["model"]["kind"] == name
    report = (runs / name / "report.md").read_text("utf-8")
    assert f"{name}: " in report
    assert ("firing_rate" in report) == fires
    assert main(["evaluate", str(runs / name), "--data", str(runs / "held_out.dev"), "--json"]) == 0
    assert last_json(capsys.readouterr().out)["n"] == 2
    assert main(["predict", "--run", str(runs / name), "the film is good", "--json"]) == 0
    assert len(last_json(capsys.readouterr().out)["labels"]) == 1


@pytest.mark.parametrize("name", ["textcnn", "spiking_textcnn"])
def test_a_runs_own_config_repeats_it_exactly(runs, name):
    config = ["--config", str(runs / name / "config.toml"), "--quiet"]
    assert finetune(runs, f"{name} again", *config) == 0
    for file in ("config.toml", "model.safetensors"):
        again = (runs / f"{name} again" / file).read_bytes()
        assert again == (runs / name / file).read_bytes()


@pytest.mark.parametrize("name", ["textcnn", "spiking_textcnn"])
def test_training_goes_on_from_a_run_of_the_same_kind(runs, name, capsys):
    init = ["--init", str(runs / name), "--quiet"]
    assert finetune(runs, f"{name} copy", *init, "--model", name, "--epochs", "0") == 0
    again = (runs / f"{name} copy" / "model.safetensors").read_bytes()
    assert again == (runs / name / "model.safetensors").read_bytes()
    assert finetune(runs, "never", *init, "--model", "spikebert") == 2
    assert "--model: the model is that of --init" in capsys.readouterr().err
    assert finetune(runs, "never", *init, "--tau", "3") == 2
    assert "--tau: the model is that of --init" in capsys.readouterr().err


def test_a_run_folder_without_a_kind_is_a_spikebert(runs):
    path = runs / "spikebert" / "config.toml"
    text = path.read_text("utf-8")
    assert 'kind = "spikebert"\n' in text
    path.write_text(text.replace('kind = "spikebert"\n', ""), "utf-8")
    assert "kind" not in tomllib.loads(path.read_text("utf-8"))["model"]
    assert main(["predict", "--run", str(runs / "spikebert"), "good"]) == 0
    init = ["--init", str(runs / "spikebert"), "--config", str(path), "--quiet"]
    assert finetune(runs, "of an old one", *init) == 0


def test_mistakes_are_one_sentence(runs, capsys):
    config = runs / "mine.toml"
    for text, args, message in (
        ("", ["--model", "textcnn", "--w-feat", "0.1"], "a textcnn has no blocks to compare"),
        ("", ["--model", "textcnn", "--heads", "2"], "unknown key heads; known are vocab_size"),
        ("", ["--model", "textcnn", "--tau", "3"], "[neuron]: textcnn has no neurons; leave tau"),
        ("", ["--filters", "3"], "unknown key filters"),
        ("", ["--model", "textcnn", "--kernel-widths", "3,3"], "give distinct widths"),
        ("[model]\nkind = 'lstm'\n", [], "kind = 'lstm': choose from spikebert, textcnn"),
        ("[model]\nkind = 3\n", [], "kind = 3: choose from spikebert"),
        ("[model]\nkind = []\n", [], "kind = []: choose from spikebert"),
        (
            "[model]\nkind = 'textcnn'\nkernel_widths = ['a']\n", [],
            "kernel_widths = ['a'] should be of type tuple",
        ),
    ):  # fmt: skip
        config.write_text(text)
        assert finetune(runs, "never", "--config", str(config), *args, "--quiet") == 2
        assert message in capsys.readouterr().err.strip().splitlines()[-1]
        assert not (runs / "never").exists()


def test_stage_1_refuses_a_model_without_taps(runs, capsys):
    config = runs / "stage1.toml"
    config.write_text("[model]\nkind = 'textcnn'\n")
    args = ["pretrain", "--cache", str(runs / "cache"), "--config", str(config)]
    assert main([*args, "--out", str(runs / "never"), "--quiet"]) == 2
    assert "leave stage 1 to a spikebert" in capsys.readouterr().err


def test_kernel_widths_are_whole_numbers(folder, capsys):
    with pytest.raises(SystemExit):
        finetune(folder, "never", "--model", "textcnn", "--kernel-widths", "3,x")
    assert "3,x: give whole numbers with commas" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["probe", "shrink"])
def test_what_reads_a_body_of_blocks_refuses_a_baseline(runs, capsys, command):
    args = [command, str(runs / "textcnn"), "--data", str(runs / "held_out.dev")]
    assert main([*args, *(["--out", str(runs / "never")] if command == "shrink" else [])]) == 2
    assert "is a textcnn; `spikebert" in capsys.readouterr().err
