"""`spikebert energy`: what it prints, draws and measures, and the meters it measures with."""

import json
import mmap
import platform

import numpy as np
import pytest
from test_teacher_commands import CONFIG, WORDS, add_classifier
from tiny import last_json, make_cache, make_run, texts

from spikebert_np.analysis.energy import RULES
from spikebert_np.analysis.energy_plot import energy_figure
from spikebert_np.benchmarks.joules import Meter, perf_reader, rapl_reader
from spikebert_np.cli import main
from spikebert_np.models.kinds import KINDS
from spikebert_np.training.checkpoint import config_tables, save_weights, write_config

SHAPE = {"width": 8, "heads": 2, "blocks": 1, "embedding_width": 6}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Runs `student` (T = 4), `short` (T = 2), `cnn` and `snn`; a `teacher` with a classifier; and
    a labelled file, `dev.tsv`."""
    folder = tmp_path_factory.mktemp("energy")
    tokenizer = make_cache(folder).tokenizer
    for name, kind, settings in (
        ("student", "spikebert", SHAPE),
        ("short", "spikebert", SHAPE | {"steps": 2}),
        ("cnn", "textcnn", {}),
        ("snn", "spiking_textcnn", {"width": 8}),
    ):
        kind = KINDS[kind]
        config = kind.config(vocab_size=14, **settings)
        (folder / name).mkdir()
        write_config(folder / name, config_tables(config))
        save_weights(folder / name, kind.init(config, np.random.default_rng(3)), tokenizer)
    sentences, labels = texts(np.random.default_rng(5), 30)
    lines = [f"{label}\t{text}" for text, label in zip(sentences, labels, strict=True)]
    (folder / "dev.tsv").write_text("\n".join(["label\tsentence", *lines]) + "\n")
    (folder / "teacher").mkdir()
    (folder / "teacher" / "config.json").write_text(json.dumps(CONFIG))
    (folder / "teacher" / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    add_classifier(folder / "teacher", 2)
    return folder


def energy(folder, *args):
    """The command on runs of the folder and its dev.tsv, against its teacher."""
    args = [str(folder / arg) if (folder / arg).is_dir() else arg for arg in args]
    fixed = ["--data", str(folder / "dev.tsv"), "--against", str(folder / "teacher")]
    return main(["energy", *args, *fixed])


def test_three_rules_beside_the_teacher_and_without_spikes(folder, capsys):
    assert energy(folder, "student", "--json") == 0
    out = capsys.readouterr().out
    found = last_json(out)
    assert found["n"] == 30
    assert found["literature"] <= found["strict"] < found["with_memory"]
    for other in ("teacher", "without_spikes"):
        assert found[other]["literature"] == found[other]["strict"]
        for rule in RULES:
            assert found[f"share_of_{other}"][rule] == found[rule] / found[other][rule]
    student, teacher = found["networks"]
    assert (student["teacher"], teacher["teacher"]) == (False, True)
    assert (
        main(["evaluate", str(folder / "student"), "--data", str(folder / "dev.tsv"), "--json"])
        == 0
    )
    assert student["accuracy"] == last_json(capsys.readouterr().out)["accuracy"]
    assert 0 <= teacher["accuracy"] <= 1  # it has a classifier
    assert teacher["label"] == "teacher (BERT, 3 blocks, 8 wide)"
    # Wherever there is a figure in joules, the word stands beside it.
    paragraphs = out.split("\n\n")
    assert all("theoretical" in part for part in paragraphs if "J" in part)
    assert sum("theoretical" in part for part in paragraphs) >= 3


def test_what_the_student_did_not_read_is_told(folder, tmp_path, capsys):
    run = make_run(tmp_path, max_tokens=6)
    assert energy(folder, str(run)) == 0
    sentences = [line.split("\t")[1] for line in (folder / "dev.tsv").read_text().splitlines()[1:]]
    longer = sum(len(sentence.split()) > 4 for sentence in sentences)  # beside [CLS] and [SEP]
    assert 0 < longer < 30
    assert f" {longer} cut short" in capsys.readouterr().out


def test_spiking_textcnn_has_an_energy_and_textcnn_none(folder, capsys):
    assert energy(folder, "snn", "--json") == 0
    assert last_json(capsys.readouterr().out)["with_memory"] > 0
    assert energy(folder, "cnn") == 2
    assert "is a textcnn, which has no spikes to count" in capsys.readouterr().err


def test_several_runs_in_one_plot(folder, tmp_path, capsys):
    picture = tmp_path / "trade-off.png"
    assert energy(folder, "short", "student", "--plot", str(picture), "--json") == 0
    assert picture.stat().st_size > 1000
    found = last_json(capsys.readouterr().out)
    short, teacher, student = found["networks"]
    assert found["literature"] == short["literature"]
    assert short["with_memory"] < student["with_memory"]
    assert [network["teacher"] for network in found["networks"]] == [False, True, False]
    figure = energy_figure([short, teacher | {"accuracy": None}, student], title="dev")
    for axis, rule in zip(figure.axes, RULES, strict=True):
        dots = {line.get_label(): line.get_xdata()[0] for line in axis.lines}
        assert dots[short["label"]] == short[rule]
        assert dots[f"{teacher['label']}, not scored"] == teacher[rule]
        assert axis.get_xlabel().startswith("theoretical")


def test_every_network_of_a_plot_has_a_name_and_a_mark():
    names = ["_old/run", *"abcdefghijk"]
    row = {"teacher": False, "accuracy": 0.5, **dict.fromkeys(RULES, 1.0)}
    figure = energy_figure([{"label": name, **row} for name in names], title="dev")
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == names
    assert len({line.get_marker() for line in legend.get_lines()}) == len(names)


def test_measured_beside_the_theoretical_figure(folder, monkeypatch, capsys):
    ticks = iter(range(10**6))
    meter = Meter("joules", lambda: float(next(ticks)))
    monkeypatch.setattr("spikebert_np.benchmarks.joules.find_meter", lambda: meter)
    rival = "spikebert_np.benchmarks.energy._teacher_in_onnxruntime"
    monkeypatch.setattr(rival, lambda teacher: None)
    assert energy(folder, "student", "--measure", "--rounds", "2", "--json") == 0
    out = capsys.readouterr().out
    measured = last_json(out)["measured"]
    assert measured.pop("unit") == "joules"
    assert measured.keys() == {"batch32", "batch1"}
    for batch, sentences in (("batch32", 32), ("batch1", 1)):
        assert measured[batch].keys() == {"events", "dense", "one_step", "teacher"}
        for units in measured[batch].values():
            assert units["joules"] == 1 / sentences
            assert units["cpu_seconds"] > 0
    # All sides cost the same by this meter: nothing is saved.
    assert "here, batches of 32, teacher: 1.0 " in out
    monkeypatch.setattr("spikebert_np.benchmarks.joules.find_meter", lambda: None)
    assert energy(folder, "student", "--measure", "--rounds", "1", "--json") == 0
    out = capsys.readouterr().out
    assert last_json(out)["measured"]["unit"] == "cpu_seconds"
    assert "no RAPL" in out


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        (["--plot", "e.bmp"], "end it in .png, .svg or .pdf"),
        (["--plot", "nowhere/e.png"], "there is no folder nowhere"),
        (["--plot", "folder.PNG"], "folder.PNG: is not a file"),
        (["--against", "nowhere"], "nowhere: no such directory"),
        (["--split", "test"], "has no test split, only dev"),
        (["nowhere"], "nowhere"),
    ],
)
def test_mistakes_are_told(folder, tmp_path, monkeypatch, capsys, args, complaint):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.PNG").mkdir()
    assert main(["energy", "--data", str(folder / "dev.tsv"), *args]) == 2
    assert complaint in capsys.readouterr().err


def test_the_default_is_the_shipped_student_and_no_teacher_is_needed(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("spikebert_np.data.pretrained.teachers_folder", lambda: tmp_path)
    assert main(["energy", "--json"]) == 0
    out, err = capsys.readouterr()
    assert "without a teacher: the teacher minilm is not on this machine" in err
    found = last_json(out)
    assert "teacher" not in found
    assert found["share_of_without_spikes"]["literature"] < 1


def test_rapl_adds_up_packages_and_lives_through_a_wrap(tmp_path):
    assert rapl_reader(tmp_path) is None
    for folder, name, energy in (
        ("intel-rapl:0", "package-0", 900),
        ("intel-rapl:1", "package-1", 50),
        ("intel-rapl:2", "psys", 3),  # all that the mains give, both packages included
        ("intel-rapl:0:0", "core", 7),
    ):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "name").write_text(f"{name}\n")
        (tmp_path / folder / "max_energy_range_uj").write_text("999\n")
        (tmp_path / folder / "energy_uj").write_text(f"{energy}\n")
    read = rapl_reader(tmp_path)
    assert read() == 0
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("100\n")  # 200 on, through 999
    (tmp_path / "intel-rapl:1" / "energy_uj").write_text("60\n")
    (tmp_path / "intel-rapl:0:0" / "energy_uj").write_text("500\n")  # a part of package 0
    (tmp_path / "intel-rapl:2" / "energy_uj").write_text("700\n")
    assert read() == pytest.approx(210e-6)
    assert read() == pytest.approx(210e-6)


def test_perf_counts_what_this_thread_does():
    # A counter of the kernel's own, page faults, is there where the processor's are not.
    read = perf_reader(1, 2)
    if read is None:
        pytest.skip(f"{platform.system()} on {platform.machine()} lets no events be counted")
    pages = np.frombuffer(mmap.mmap(-1, 100 * mmap.PAGESIZE), np.uint8)
    before = read()
    pages[:: mmap.PAGESIZE] = 1  # each is touched for the first time
    assert read() - before >= 100
    assert perf_reader(1, 10**6) is None  # no such event
