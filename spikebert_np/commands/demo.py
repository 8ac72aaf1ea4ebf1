"""`spikebert demo`: both stages on the shipped corpus, beside what they are to be compared with."""

import argparse
import json
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from time import perf_counter

from .options import at_least

# Positions as strong as words: in these sentences order decides as often as a word. No windows,
# so that the row without attention shows what it alone does here: let words meet.
MODEL = {
    "width": 96, "mlp_width": 192, "blocks": 2, "heads": 4, "position_std": 1.0, "dropout": 0.0,
    "kernel_width": 1,
}  # fmt: skip
BOTH = {"learning_rate": 3e-3, "batch_tokens": 384}
STAGE1 = {**BOTH, "epochs": 16, "w_ce": 0.0, "w_kl": 0.0, "w_feat": 1.0, "w_emb": 1.0}
STAGE2 = {**BOTH, "epochs": 12, "w_ce": 0.3, "w_kl": 1.0, "w_feat": 0.0}
ROWS = {
    "majority": "majority class",
    "bag_of_words": "bag of words and bigrams (naive Bayes)",
    "teacher": "teacher: MiniLM, frozen, with a linear head",
    "direct": "student trained directly",
    "distilled": "student distilled, both stages",
    "no_attention": "student distilled, without attention",
}


def register(commands):
    """Add `demo`."""
    demo = commands.add_parser(
        "demo",
        help="train a spiking student in under two minutes, and see what distillation gives",
        description="Runs the whole path on toy_reviews, a small corpus that travels with the "
        "package: stage 1 on a real BERT's cached features, stage 2 on its logits, and beside it "
        "the same student without a teacher and without attention. No download, no other data.",
        epilog="examples:\n  spikebert demo\n  spikebert demo --seeds 5 --json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    demo.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        help="new folder for the runs (default: runs/demo, or runs/demo-2, ... where taken)",
    )
    demo.add_argument(
        "--seed", metavar="N", type=at_least(0), default=0, help="first seed (default: 0)"
    )
    demo.add_argument(
        "--seeds", metavar="N", type=at_least(1), default=1, help="students a kind (default: 1)"
    )
    demo.add_argument("--json", action="store_true", help="print one line of JSON last")
    demo.set_defaults(run=run_demo)


def run_demo(args):
    """Train, compare, draw, and say what to run next."""
    from ..data.shipped import TOY, open_cache
    from ..data.toy_reviews import toy_reviews
    from ..training.stages import make_run_folder

    out = make_run_folder(args.out or _free_folder(Path("runs/demo")))
    cache, splits = open_cache(TOY), toy_reviews()
    print(
        f"toy_reviews: {len(splits['train'].texts)} sentences to train on, "
        f"{len(splits['test'].texts)} to be tested on, whose combinations of words are new."
    )
    _compile(cache)
    started = perf_counter()
    scores = {name: [score] for name, score in _baselines(cache, splits).items()}
    for seed in range(args.seed, args.seed + args.seeds):
        for name, score in _students(cache, out / f"seed{seed}", seed).items():
            scores.setdefault(name, []).append(score)
    seconds = perf_counter() - started
    run = out / f"seed{args.seed}" / "distilled"
    example = next(text for text in splits["test"].texts if "but" in text)
    rate = _print_findings(cache, scores, run, out / "sentence.png", example)
    distilled, stage1 = (shlex.quote(str(folder)) for folder in (run, run.parent / "stage1"))
    print(
        f"\nTook {seconds:.0f} s. Saved in {out}: a folder for each student (report.md, "
        f"model.safetensors), and sentence.png.\n\nNext:\n"
        f'  spikebert predict --run {distilled} "the plot was sharp , but the music is dull"\n'
        f"  spikebert finetune --init {stage1} --out runs/longer --epochs 20\n"
        f"  spikebert data get sst2     (then README: a real corpus)"
    )
    if args.json:
        means = {name: sum(values) / len(values) for name, values in scores.items()}
        print(json.dumps(means | {"firing_rate": rate, "seconds": seconds}))


def _free_folder(folder):
    number, free = 1, folder
    while free.exists():
        number += 1
        free = folder.with_name(f"{folder.name}-{number}")
    return free


def _compile(cache):
    """One step of a tiny student, so that compilation is not counted as training."""
    from ..data.corpus import slice_corpus
    from ..training.corpora import split_corpus
    from ..training.loop import TrainingSettings, train
    from ..training.stages import new_student, student_config
    from ..training.word_rows import teacher_word_rows

    settings = TrainingSettings(epochs=1, w_feat=1.0)
    config = student_config(cache, width=8, heads=2, blocks=2)
    corpus = slice_corpus(split_corpus(cache, "train"), 0, 4)
    rows = teacher_word_rows(cache)[0]
    params = new_student(cache, config, settings)
    train(
        params,
        config,
        settings,
        corpus,
        dev=corpus,
        word_rows=rows,
        log=lambda record: None,
        quiet=True,
    )


def _baselines(cache, splits):
    """Test accuracy of the majority class, of a bag of words and of the teacher."""
    import numpy as np

    from ..models.bag_of_words import fit_naive_bayes, predict_naive_bayes
    from ..training.corpora import split_corpus
    from ..training.inference import accuracy

    train, test = splits["train"], splits["test"]
    model = fit_naive_bayes(train.texts, train.labels, 2)
    majority = np.bincount(train.labels).argmax()
    return {
        "majority": float((test.labels == majority).mean()),
        "bag_of_words": float((predict_naive_bayes(model, test.texts) == test.labels).mean()),
        "teacher": accuracy(split_corpus(cache, "test").logits, test.labels),
    }


def _students(cache, out, seed):
    """Train the three students of one seed; test accuracy of each."""
    from ..data.shipped import TOY
    from ..training.corpora import split_corpus
    from ..training.loop import TrainingSettings
    from ..training.recipe import WITHOUT_TEACHER
    from ..training.stages import new_student, run_stage, run_tables, student_config

    stage1 = TrainingSettings(**STAGE1, seed=seed)
    stage2 = TrainingSettings(**STAGE2, seed=seed)
    config = student_config(cache, **MODEL)
    blind = replace(config, attention=False)
    test = split_corpus(cache, "test")

    def trained(name, stage, params, config, settings, init=""):
        print(f"seed {seed}: {name}", file=sys.stderr, flush=True)
        tables = run_tables(stage, cache, settings, name=TOY, init=init)
        return run_stage(out / name, stage, cache, params, config, settings, tables=tables)[0]

    def score(params, config):
        from ..training.inference import accuracy, predict_logits

        return accuracy(predict_logits(params, config, test.ids, test.offsets), test.labels)

    def distilled(config, suffix=""):
        params = new_student(cache, config, stage1)
        start = f"stage1{suffix}"
        params = trained(start, "pretrain", params, config, stage1)
        name = "no_attention" if suffix else "distilled"
        return score(trained(name, "finetune", params, config, stage2, out / start), config)

    alone = replace(stage2, **WITHOUT_TEACHER)
    direct = trained("direct", "finetune", new_student(cache, config, alone), config, alone)
    return {
        "direct": score(direct, config),
        "distilled": distilled(config),
        "no_attention": distilled(blind, "_no_attention"),
    }


def _print_findings(cache, scores, run_folder, picture, sentence):
    """The table, firing by layer, energy, and the picture of one sentence. Returns mean firing."""
    from ..analysis.energy import millijoules
    from ..analysis.explanation import explain
    from ..analysis.firing import firing_rates, mean_firing_rate
    from ..analysis.operations import count_bert, count_student
    from ..analysis.plots import plot_sentence
    from ..data.tokenizer import load_tokenizer
    from ..models.spikebert import spikebert_forward
    from ..training.checkpoint import load_run
    from ..training.corpora import split_corpus

    print("\naccuracy on the test split")
    for name, label in ROWS.items():
        values = scores[name]
        mean = sum(values) / len(values)
        spread = f"   {min(values):.3f} to {max(values):.3f}" if len(values) > 1 else ""
        print(f"  {label:44} {mean:.3f}{spread}")

    run, test = load_run(run_folder), split_corpus(cache, "test")
    _, forward = spikebert_forward(test.ids, test.offsets, run.params, run.config, taps=False)
    print("\nshare of neurons that fire, by layer")
    for name, rate in firing_rates(forward).items():
        print(f"  {name:20} {rate:6.1%}  {'#' * round(100 * rate)}")
    rate = mean_firing_rate(forward)
    teacher = cache.manifest["teacher"]
    student_mj = millijoules(count_student(forward))["literature"]
    bert = count_bert(
        test.offsets,
        depth=teacher["blocks"],
        width=teacher["width"],
        mlp_width=teacher["mlp_width"],
    )
    teacher_mj = millijoules(bert)["literature"]
    print(
        f"\ntheoretical energy a sentence (4.6 pJ a MAC, 0.9 pJ an AC; moving data not counted)\n"
        f"  teacher  {teacher_mj:.4f} mJ\n  student  {student_mj:.4f} mJ, "
        f"{teacher_mj / student_mj:.0f} times less, most of which is that it is smaller"
    )

    tokenizer = load_tokenizer(run.directory / "tokenizer.json")
    explanation = explain(sentence, tokenizer, run.params, run.config)
    verdict = ("negative", "positive")[explanation.answer]
    plot_sentence(explanation, picture, title=f"{sentence}   (predicted: {verdict})")
    return rate
