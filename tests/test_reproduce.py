"""`spikebert reproduce` on a tiny random BERT, from the split to the table."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from test_teacher_commands import CONFIG, WORDS, random_tensors
from tiny import last_json

from spikebert_np.cli import main
from spikebert_np.commands import steps
from spikebert_np.commands.reproduction import Reproduction
from spikebert_np.data.readers import corpus_digest, read_corpus
from spikebert_np.data.teacher_cache import load_cache
from spikebert_np.errors import InputError
from spikebert_np.models.bert_checkpoint import read_config
from spikebert_np.training.checkpoint import load_run
from spikebert_np.training.loop import TrainingSettings
from spikebert_np.training.recipe import STUDENTS, WITHOUT_TEACHER, load_recipe
from spikebert_np.training.word_rows import starting_rows

RECIPE = """
[data]
task = "mood, 2 classes"
about = "a few films"
get = "write them yourself"
dev_fraction = 0.4
text = "unlabeled/reviews.txt"
[teacher]
source = "{teacher}"
[teacher.finetuning]
epochs = 1
[cache]
layers = [1, 3]
max_tokens = 20
[stage1]
sentences = 6
[stage1.training]
epochs = 1
[model]
width = 8
heads = 2
steps = 2
[stage2.training]
epochs = 2
batch_tokens = 64
[textcnn.model]
filters = 3
[spiking_textcnn.model]
filters = 3
width = 8
"""
STEPS = ["split", "teacher", "cache", "stage1-cache", "stage1"]
STEPS += [f"seed0/{name}" for name in STUDENTS] + ["baselines"]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a general teacher, a corpus without a dev split, a text and a recipe."""
    home = tmp_path_factory.mktemp("reproduce")
    write_teacher(home / "tiny-bert")
    corpus = [
        f"{int(mood != 'dull')} {a} {mood} {thing}"
        for a in ("a", "not a", "is a", "film and a", "and long a")
        for mood in ("dull", "fine", "warm")
        for thing in ("film", "story")
    ]
    (home / "films").mkdir()
    (home / "films" / "films.txt").write_text("\n".join(corpus) + "\n")
    (home / "unlabeled").mkdir()
    reviews = "A long story. Not a film! Is it warm? A dull and fine film.\n"
    (home / "unlabeled" / "reviews.txt").write_text(reviews * 2 + "A story and a film.\n")
    (home / "tiny.toml").write_text(RECIPE.format(teacher=home / "tiny-bert"))
    return home


def write_teacher(folder, words=WORDS):
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    save_file(random_tensors(read_config(folder / "config.json")), folder / "model.safetensors")


def command(home, out, *options, recipe="tiny.toml", data="films"):
    paths = [str(home / recipe), "--data", str(home / data), "--out", str(out)]
    return ["reproduce", *paths, "--seeds", "1", "--quiet", *options]


@pytest.fixture(scope="module")
def out(home):
    """What a run that nobody stops leaves behind. Tests that change it take a copy."""
    assert main(command(home, home / "whole")) == 0
    return home / "whole"


def test_a_quiet_run_shows_no_bar_however_long_the_corpus(home, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("spikebert_np.data.tokenizer._BAR_FROM", 0)
    assert main(command(home, tmp_path / "quiet")) == 0
    assert "%|" not in capsys.readouterr().err


@pytest.fixture
def copy(out, tmp_path):
    return Path(shutil.copytree(out, tmp_path / "copy"))


def contents(folder):
    """{name: bytes} of what does not tell the time."""
    files = [path for path in folder.rglob("*") if path.suffix in (".safetensors", ".npy", ".csv")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def states(text):
    """{step: whether it is done} of a printed plan."""
    lines = text.split("step\n")[1].splitlines()[: len(STEPS)]
    return {line.split()[-1]: "min" not in line for line in lines}


def test_every_step_is_there_and_all_share_one_split(home, out):
    for name in STEPS:
        assert (out / name).is_dir()
        assert "corpus_sha256" in (out / f"{name}.json").read_text()
    split = read_corpus(out / "split")
    assert len(split["train"].texts) + len(split["dev"].texts) == 30
    trained_on = json.loads((out / "teacher" / "settings.json").read_text())["corpus_sha256"]
    cache = load_cache(out / "cache")
    assert trained_on == cache.manifest["corpus_sha256"] == corpus_digest(split)
    assert list(cache.splits) == ["train", "dev"]
    # Stage 1's text is read by the general teacher, and cut into sentences first.
    text = load_cache(out / "stage1-cache")
    assert text.splits == {"train": (0, 6)}
    assert text.manifest["teacher"]["name"] == "tiny-bert"
    assert text.tokenizer.read_bytes() == cache.tokenizer.read_bytes()


def test_the_rows_say_what_the_runs_say(out):
    table = json.loads((out / "results.json").read_text())
    rows = {row["model"]: row for row in table["rows"]}
    for name, student in STUDENTS.items():
        row, run = rows[student.label], load_run(out / "seed0" / name)
        lines = (run.directory / "metrics.jsonl").read_text().splitlines()
        scores = [json.loads(line)["dev_accuracy"] for line in lines]
        assert row["mean"] == row["lowest"] == row["highest"] == max(scores)
        assert row["parameters"] == sum(value.size for value in run.params.values())
        assert row["seeds"] == [0]
        assert row["peak_bytes"] > 1e6
    assert len(rows) == len(STUDENTS) + 4
    dev = read_corpus(out / "split")["dev"].labels
    assert rows["majority class"]["mean"] == dev.mean()  # 1 is the frequent class
    assert all(row["dev_sentences"] == len(dev) for row in rows.values())
    seconds = json.loads((out / "stage1" / "metrics.jsonl").read_text())["seconds"]
    row = rows[STUDENTS["distilled"].label]
    assert row["minutes"] == pytest.approx((row["seconds"] + seconds) / 60)
    page = (out / "RESULTS.md").read_text()
    assert f"| {row['mean']:.4f} |" in page
    assert "spikebert reproduce tiny.toml --data films --out whole --seeds 1 --seed 0" in page
    assert str(out.parent) not in page


def test_direct_training_knows_no_teacher(out):
    training = load_run(out / "seed0" / "direct").tables["training"]
    assert training.items() >= WITHOUT_TEACHER.items()
    assert training["epochs"] == 2
    data = {name: load_run(out / "seed0" / name).tables["data"] for name in STUDENTS}
    assert data["distilled"]["init"] == str(out / "stage1")
    assert data["distilled"]["new_words"]
    assert {data[name]["init"] for name in STUDENTS if name != "distilled"} == {""}


def test_a_second_call_makes_nothing_and_more_seeds_only_their_own(home, copy, capsys):
    before = contents(copy)
    times = {path: path.stat().st_mtime_ns for path in copy.rglob("*.safetensors")}
    assert main(command(home, copy, "--json")) == 0
    text = capsys.readouterr().out
    assert set(states(text).values()) == {True}
    assert contents(copy) == before
    assert last_json(text)["rows"] == json.loads((copy / "results.json").read_text())["rows"]
    # Stage 1 is there: what it was made from may go.
    shutil.rmtree(copy / "stage1-cache")
    assert main(command(home, copy, "--seeds", "2")) == 0
    assert "not needed any more  stage1-cache" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in times} == times
    rows = json.loads((copy / "results.json").read_text())["rows"]
    assert rows[0]["seeds"] == [0, 1]
    assert rows[0]["mean"] == (rows[0]["lowest"] + rows[0]["highest"]) / 2
    both = [(copy / f"seed{i}" / "distilled" / "model.safetensors").read_bytes() for i in (0, 1)]
    assert both[0] != both[1]


KILLED = """
import os, signal, sys
from spikebert_np.commands import train
from spikebert_np.cli import main
count = int(sys.argv.pop(1))
def die(record):
    global count
    count -= 1
    if not count:
        os.kill(os.getpid(), signal.SIGKILL)
train.print_epoch = die
main(sys.argv[1:])
"""


@pytest.mark.parametrize("epoch", [1, 3])  # of stage 1; the last of seed 0's student
def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(home, out, tmp_path, capsys, epoch):
    run = [sys.executable, "-c", KILLED, str(epoch), *command(home, tmp_path / "killed")]
    done = subprocess.run(run, capture_output=True, cwd=Path(__file__).parent.parent)
    assert done.returncode == -signal.SIGKILL
    killed = ["stage1", "seed0/distilled"][epoch // 2]
    assert not any((tmp_path / "killed" / killed).iterdir())
    kept = contents(tmp_path / "killed")
    assert main(command(home, tmp_path / "killed")) == 0
    found = states(capsys.readouterr().out)
    assert [name for name in STEPS if found[name]] == STEPS[: STEPS.index(killed)]
    whole = contents(tmp_path / "killed")
    assert whole == contents(out)
    assert whole.items() >= {k: v for k, v in kept.items() if ".training" not in k}.items()
    assert not list((tmp_path / "killed").rglob(".*"))


@pytest.mark.parametrize(
    ("change", "step", "words"),
    [
        (("epochs = 2", "epochs = 3"), "seed0/distilled", "distilled.training.epochs = 2, but now"),
        (("steps = 2", "steps = 3"), "stage1", "stage1.model.steps = 2, but now it is 3"),
        (("[1, 3]", "[2, 3]"), "cache", "cache.layers = [1, 3], but now it is [2, 3]"),
        (("sentences = 6", "sentences = 5"), "stage1-cache", "stage1-cache.sentences = 6"),
        (("[teacher.finetuning]", "[teacher.finetuning]\nseed = 4"), "teacher", "teacher.seed = 0"),
        (("0.4", "0.5"), "split", "data.dev_fraction = 0.4, but now it is 0.5"),
    ],
)
def test_changed_settings_are_refused_by_name(home, out, tmp_path, capsys, change, step, words):
    text = (home / "tiny.toml").read_text()
    assert change[0] in text
    (tmp_path / "changed.toml").write_text(text.replace(*change))
    before = contents(out)
    assert main(command(home, out, recipe=tmp_path / "changed.toml")) == 2
    error = capsys.readouterr().err
    assert f"{out / step}: was made with " in error
    assert words in error
    assert contents(out) == before


def test_stage_2_learns_from_spans_and_from_sentences_of_stage_1s_text(home, out, tmp_path, capsys):
    # What is there already is not made again: only the cache and who learns from it are new.
    shutil.copytree(out, tmp_path / "more")
    shutil.rmtree(tmp_path / "more" / "seed0" / "distilled")
    text = (home / "tiny.toml").read_text()
    recipe = tmp_path / "more.toml"
    recipe.write_text(
        text.replace("[stage2.training]", "[stage2]\nsentences = 4\nspans = 2\n[stage2.training]")
    )
    assert main(command(home, tmp_path / "more", recipe=recipe)) == 0
    more, cache = (load_cache(tmp_path / "more" / name) for name in ("more-cache", "cache"))
    count = more.splits["train"][1]
    assert 4 < count <= 4 + 2 * (cache.splits["train"][1])  # the sentences, and spans of train
    assert more.labels is None
    # By the fine-tuned teacher, who alone has logits of this task.
    assert more.manifest["teacher"] == cache.manifest["teacher"]
    assert more.logits.shape == (count, 2)
    run = load_run(tmp_path / "more" / "seed0" / "distilled")
    assert run.tables["data"]["more"] == [str(tmp_path / "more" / "more-cache")]
    assert run.tables["training"]["w_feat"] > 0
    assert load_run(tmp_path / "more" / "seed0" / "direct").tables["data"]["more"] == []
    without = load_run(out / "seed0" / "distilled").params
    assert any(not np.array_equal(without[key], run.params[key]) for key in without)
    recipe.write_text(recipe.read_text().replace("sentences = 4", "sentences = 5"))
    before = contents(tmp_path / "more")
    assert main(command(home, tmp_path / "more", recipe=recipe)) == 2
    words = "more-cache: was made with more-cache.sentences = 4, but now it is 5"
    assert words in capsys.readouterr().err
    # Nor may a student of more sentences pass for one of the task's alone.
    assert main(command(home, tmp_path / "more")) == 2
    assert "seed0/distilled: was made with more-cache." in capsys.readouterr().err
    assert contents(tmp_path / "more") == before


def test_no_sentence_of_dev_is_drawn_from_stage_1s_text(home, tmp_path):
    (tmp_path / "films").mkdir()
    rows = ["1,a warm film", "0,a dull film"]
    for name in ("train", "dev"):
        (tmp_path / "films" / f"{name}.csv").write_text("\n".join(["label,review", *rows, ""]))
        rows = ["0,Is it warm? Not a  FILM!", "1,a fine story"]
    args = SimpleNamespace(
        data=tmp_path / "films", text=home / "unlabeled" / "reviews.txt", out=tmp_path / "out",
        teacher=[], seed=0, seeds=1, quiet=True,
    )  # fmt: skip
    work = Reproduction(load_recipe(home / "tiny.toml"), args)
    sentences = {"A long story.", "A dull and fine film.", "A story and a film."}
    assert set(work.start.sentences) == sentences | {"Not a film!", "Is it warm?"}
    assert set(work._without_dev(work._drawn(99))) == sentences


def test_what_was_made_from_another_teacher_is_refused(home, copy, tmp_path, capsys):
    shutil.rmtree(copy / "teacher")
    text = (home / "tiny.toml").read_text()
    (tmp_path / "changed.toml").write_text(text.replace("finetuning]", "finetuning]\nseed = 4"))
    assert main(command(home, copy, recipe=tmp_path / "changed.toml")) == 2
    error = capsys.readouterr().err
    assert f"{copy / 'cache'}: was made with teacher.seed = 0, but now it is 4" in error
    assert not (copy / "teacher").exists()


def test_changed_data_is_refused(home, out, tmp_path, capsys):
    (tmp_path / "films").mkdir()
    text = (home / "films" / "films.txt").read_text()
    (tmp_path / "films" / "films.txt").write_text(text + "1 a warm film\n")
    options = ["--text", str(home / "unlabeled" / "reviews.txt")]
    assert main(command(home, out, "--data", str(tmp_path / "films"), *options)) == 2
    assert "split: was made with data.corpus_sha256 = " in capsys.readouterr().err
    (tmp_path / "other.txt").write_text("A film. A story.\n")
    assert main(command(home, out, "--text", str(tmp_path / "other.txt"))) == 2
    assert "stage1-cache: was made with stage1-cache.text_sha256 = " in capsys.readouterr().err
    # A folder that nobody can vouch for.
    shutil.copytree(out, tmp_path / "copy")
    (tmp_path / "copy" / "cache.json").unlink()
    assert main(command(home, tmp_path / "copy")) == 2
    assert "cache.json: the settings of" in capsys.readouterr().err


def test_stage_2_begins_with_the_very_weights_of_stage_1_but_for_the_words(home, tmp_path):
    text = (home / "tiny.toml").read_text()
    (tmp_path / "still.toml").write_text(text.replace("epochs = 2", "epochs = 0"))
    work = command(home, tmp_path / "out", recipe=tmp_path / "still.toml")
    # Without an epoch there is no dev accuracy, so the table cannot be; the runs can.
    from spikebert_np.commands import results

    original = results.write_results
    results.write_results = lambda *args: (tmp_path / "out" / "RESULTS.md").write_text("") or []
    try:
        assert main(work) == 0
    finally:
        results.write_results = original
    out = tmp_path / "out"
    before, run = load_run(out / "stage1").params, load_run(out / "seed0" / "distilled")
    assert run.tables["model"]["classes"] == 2
    words = starting_rows(load_cache(out / "cache"), TrainingSettings(**run.tables["training"]))
    assert not np.array_equal(before["embedding.weight"], words)
    before["embedding.weight"] = words  # the fine-tuned teacher's
    assert before.keys() == run.params.keys()
    assert all(np.array_equal(before[name], run.params[name]) for name in before)


def test_a_test_split_is_never_read(home, out, tmp_path, capsys):
    shutil.copytree(out / "split", tmp_path / "films")
    shutil.copytree(home / "unlabeled", tmp_path / "unlabeled")
    options = command(home, tmp_path / "plain", data=tmp_path / "films")
    assert main(options) == 0
    (tmp_path / "films" / "test.csv").write_text("label,review\n1,a dull dull dull film\n")
    assert main(options) == 0
    assert "0.0 min  0.00 GB   0.0 GB  in all" in capsys.readouterr().out
    assert list(load_cache(tmp_path / "plain" / "cache").splits) == ["train", "dev"]
    # The corpus' own dev split is used as it is, and the same split gives the same students.
    assert not (tmp_path / "plain" / "split").exists()
    name = "seed0/distilled/model.safetensors"
    assert (tmp_path / "plain" / name).read_bytes() == (out / name).read_bytes()


def test_given_teachers(home, out, tmp_path, capsys):
    tuned, general = ["--teacher", str(out / "teacher")], ["--teacher", str(home / "tiny-bert")]
    assert main(command(home, tmp_path / "tuned", *tuned, *general)) == 0
    assert not (tmp_path / "tuned" / "teacher").exists()
    name = "seed0/distilled/model.safetensors"
    assert (tmp_path / "tuned" / name).read_bytes() == (out / name).read_bytes()
    capsys.readouterr()
    # Another split of the same corpus: the teacher may have seen its dev sentences.
    text = (home / "tiny.toml").read_text()
    (tmp_path / "half.toml").write_text(text.replace("0.4", "0.5"))
    recipe = tmp_path / "half.toml"
    assert main(command(home, tmp_path / "half", *tuned, recipe=recipe)) == 2
    assert "was fine-tuned on another corpus, or on another split" in capsys.readouterr().err
    write_teacher(tmp_path / "other-words", words=[*WORDS[:5], *reversed(WORDS[5:])])
    other = ["--teacher", str(tmp_path / "other-words")]
    for options, words in (
        (tuned + other, "its tokenizer is not that of"),
        (general + other, "are both general; give one"),
        (["--teacher", str(tmp_path / "absent")], "no such directory"),
    ):
        assert main(command(home, tmp_path / "never", *options)) == 2
        assert words in capsys.readouterr().err
    films = (home / "films" / "films.txt").read_text() + "2 a warm warm film\n2 a film\n"
    (tmp_path / "three").mkdir()
    (tmp_path / "three" / "films.txt").write_text(films)
    options = [*tuned, "--text", str(home / "unlabeled" / "reviews.txt")]
    assert main(command(home, tmp_path / "never", *options, data=tmp_path / "three")) == 2
    assert "its classifier knows 2 classes, but" in capsys.readouterr().err
    assert not (tmp_path / "never").exists()


def test_a_teacher_from_nothing(home, tmp_path, capsys):
    text = (home / "tiny.toml").read_text()
    source = f'source = "{home / "tiny-bert"}"\n'
    size = "[teacher.shape]\nvocab_size = 60\nlayers = 3\nhidden = 8\nheads = 2\n"
    size += "[teacher.pretraining]\nepochs = 1\n"
    assert source in text
    (tmp_path / "nothing.toml").write_text(text.replace(f"[teacher]\n{source}", size))
    recipe = tmp_path / "nothing.toml"
    assert main(command(home, tmp_path / "out", recipe=recipe)) == 0
    assert "source" not in (tmp_path / "out" / "teacher.json").read_text()
    first = load_cache(tmp_path / "out" / "stage1-cache").tokenizer.read_bytes()
    assert first == load_cache(tmp_path / "out" / "cache").tokenizer.read_bytes()
    weights = load_file(tmp_path / "out" / "pretrained" / "model.safetensors")
    assert weights["bert.embeddings.word_embeddings.weight"].shape[1] == 8
    capsys.readouterr()
    tuned = ["--teacher", str(tmp_path / "out" / "teacher")]
    assert main(command(home, tmp_path / "never", *tuned, recipe=recipe)) == 2
    assert "give the general teacher that it was fine-tuned from" in capsys.readouterr().err


def test_tables_are_joined_in_one_page(out, tmp_path, capsys):
    page, other = tmp_path / "RESULTS.md", tmp_path / "other"
    other.mkdir()
    table = (out / "results.json").read_text()
    (other / "results.json").write_text(table.replace('"recipe": "tiny"', '"recipe": "small"'))
    assert main(["results", str(out), str(other), "--write", str(page)]) == 0
    both = page.read_text()
    assert re.findall("^#.*", both, re.M) == [
        "# Results", "## tiny: a few films", "## small: a few films"
    ]  # fmt: skip
    capsys.readouterr()
    assert main(["results", str(out)]) == 0
    assert (out / "RESULTS.md").read_text() == capsys.readouterr().out

    changed = table.replace("a few films", "some films")
    (out / "results.json").write_text(changed)
    assert main(["results", str(out), "--write", str(page)]) == 0
    assert page.read_text() == both.replace("tiny: a few films", "tiny: some films")  # in its place
    (out / "results.json").write_text(table)

    page.write_bytes(b"# My own, not UTF-8: \xff\n")
    capsys.readouterr()
    for folders, words in (
        ([out, "--write", page], "was not written by `spikebert results`"),
        ([out, out], "is of the recipe tiny too"),
        ([tmp_path], "has finished"),
    ):
        assert main(["results", *map(str, folders)]) == 2
        assert words in capsys.readouterr().err
    assert page.read_bytes() == b"# My own, not UTF-8: \xff\n"


def test_without_out_all_lies_in_results_under_the_recipes_name(home, tmp_path, monkeypatch):
    folders = []

    def far_enough(out, *_):
        folders.append(out)
        raise InputError("far enough")

    monkeypatch.setattr(steps, "make_plan", far_enough)
    monkeypatch.chdir(tmp_path)
    assert main(["reproduce", str(home / "tiny.toml"), "--data", str(home / "films")]) == 2
    assert folders == [Path("results/tiny")]


def test_what_does_not_fit_is_named_before_anything_starts(home, tmp_path, capsys):
    text = (home / "tiny.toml").read_text()
    (tmp_path / "deep.toml").write_text(text.replace("[1, 3]", "[1, 4]"))
    for options, words in (
        ({"data": "absent"}, "write them yourself"),
        ({"data": tmp_path / "deep.toml"}, "has no labels"),
        ({"recipe": tmp_path / "deep.toml"}, "--layers 1,4: give different numbers from 0 to 3"),
        ({"recipe": tmp_path / "absent.toml"}, "no such file"),
    ):
        assert main(command(home, tmp_path / "out", **options)) == 2
        assert words in capsys.readouterr().err
    assert main(command(home, tmp_path / "out", "--text", "absent.txt")) == 2
    assert "give --text FILE" in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["deep.toml"]
