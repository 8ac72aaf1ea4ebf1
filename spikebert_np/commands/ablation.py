"""What `spikebert ablate` does: each variant's runs, from the caches of `spikebert reproduce`."""

import json
import shlex
from dataclasses import asdict, replace

from ..errors import InputError
from ..files import write_atomically
from ..training.report import markdown_lines
from .steps import Step, locked


class Ablation:
    """The steps of the variants `names` (all where it is None) for the seeds, at a Budget.

    out: the folder of `spikebert reproduce`, of which `cache` is read, and `stage1-cache` for the
    variants that have a stage 1; without that cache there are none, and `text` is None.
    Raises InputError where the first is missing or lacks hidden states, or a name is not of a
    variant.
    """

    def __init__(self, out, to, budget, seeds, *, names=None, quiet=False):
        from ..training.ablations import setups

        self.out, self.to, self.budget, self.seeds, self.quiet = out, to, budget, seeds, quiet
        self.cache = open_cache_of(out, "cache")
        has_text = (out / "stage1-cache").is_dir()
        self.text = open_cache_of(out, "stage1-cache") if has_text else None
        self.setups = {
            name: setup
            for name, setup in setups(budget, self.cache.word_embeddings.shape[1]).items()
            if self.text or not setup.variant.stage1
        }
        self.names = list(names or self.setups)
        for name in self.names:
            if name not in self.setups:
                raise InputError(
                    f"--only: {name} is not one of {', '.join(self.setups)} (stage1 needs "
                    f"{out / 'stage1-cache'}, which a recipe with a [stage1] makes)"
                )

    @property
    def shared(self):
        """The settings that every step depends on."""
        return {"cache": cache_digest(self.out / "cache")}

    def steps(self, names=None):
        """Those of the variants `names`, in order."""
        from ..training.ablations import stage1_settings
        from ..training.recipe import plain_choices

        for name in names or self.names:
            setup, needs = self.setups[name], ()
            model = {"model": plain_choices(setup.model)}

            def cost(settings, cache, setup=setup):
                return student_cost(self.cache, setup.model, settings, train_tokens(cache))

            if setup.variant.stage1:
                stage1, settings = f"{name}/weights", stage1_settings()
                needs, text = (stage1,), first_of(self.text, setup.variant.stage1)
                record = {"training": asdict(settings), "share": setup.variant.stage1} | model
                record |= cache_digest(self.out / "stage1-cache")
                estimate = cost(settings, text)
                yield Step(stage1, (), record, estimate, self._stage1(setup, text))
            for seed in self.seeds:
                training = replace(setup.training, seed=seed)
                record = {"training": asdict(training)} | model
                estimate = cost(training, self.cache)._replace(disk_bytes=0.0)
                make = self._run(setup, training, needs)
                yield Step(f"{name}/seed{seed}", needs, record, estimate, make)

    def _stage1(self, setup, text):
        from ..training.ablations import stage1_settings

        def make(folder):
            self._train(folder, "pretrain", text, setup, stage1_settings())

        return make

    def _run(self, setup, training, needs):
        def make(folder):
            init = self.to / needs[0] if needs else ""
            self._train(folder, "finetune", self.cache, setup, training, init)
            # Of a hundred runs the weights would fill a disk: config.toml repeats a run.
            for name in ("model.safetensors", "tokenizer.json"):
                (folder / name).unlink()

        return make

    def _train(self, folder, stage, cache, setup, settings, init=""):
        from ..training.ablations import spread
        from ..training.checkpoint import load_run
        from ..training.stages import new_student, run_stage, run_tables, student_config
        from .train import print_epoch

        config = student_config(self.cache, where=setup.variant.name, **setup.model)
        body = load_run(init).params if init else None
        params = new_student(cache, config, settings, body)
        run_stage(
            folder,
            stage,
            spread(cache, config.blocks),
            params,
            config,
            settings,
            tables=run_tables(
                stage,
                cache,
                settings,
                name=cache.tokenizer.parent,
                init=init,
                new_words=bool(init),
            ),
            on_epoch=print_epoch,
            quiet=self.quiet,
            report=False,
        )


def first_of(text, share):
    """The TeacherCache with a share of its train split alone: its first sentences. (They were
    drawn from the whole text, so they are like the rest.)"""
    first, last = text.splits["train"]
    sentences = max(round(share * (last - first)), 1)
    return text._replace(splits={"train": (first, first + sentences)})


def train_tokens(cache):
    """Of its train split."""
    first, last = cache.splits["train"]
    return int(cache.offsets[last] - cache.offsets[first])


def separate_folder(out, to):
    """The folder `to`. Raises InputError where it is `out`, whose own steps it would shadow."""
    if to.resolve() == out.resolve():
        raise InputError(f"{to}: holds the steps of `spikebert reproduce`; name another --to")
    return to


def study_page(head, command, columns, rows, image):
    """The Markdown of a study: its head, the parts of the command, the table, and its picture."""
    lines = [head, "```", shlex.join(command), "```", ""]
    lines += [*markdown_lines(columns, rows), "", image]
    return "\n".join(lines) + "\n"


def publish(path, page, plot, rows, *, json_line):
    """Write the page to path, have `plot` draw the rows beside it (the same name in small letters,
    .png), and print the page. json_line: print the rows as one line of JSON last."""
    with locked(path):
        write_atomically(path, lambda temporary: temporary.write_text(page, "utf-8"))
        plot(rows, path.with_name(f"{path.stem.lower()}.png"))
    print(f"\n{page}\nwritten: {path}")
    if json_line:
        print(json.dumps({"out": str(path.parent), "rows": rows}))


def open_cache_of(out, name):
    """The TeacherCache that `spikebert reproduce` left in out / name.

    Raises InputError where there is none, or it lacks hidden states of its train split.
    """
    from ..data.teacher_cache import load_cache
    from ..training.corpora import has_hidden, split_corpus

    if not (out / name / "manifest.json").is_file():
        raise InputError(
            f"{out / name}: no such cache; give the --out of a `spikebert reproduce` that has come "
            "so far"
        )
    cache = load_cache(out / name)
    if not has_hidden(split_corpus(cache, "train")):
        raise InputError(
            f"{out / name}: has hidden states for only part of the train split; give the --out of "
            "a recipe that has no hidden_sentences"
        )
    return cache


def student_cost(cache, model, settings, tokens):
    """An Estimate of training a student, of the choices `model`, on so many tokens of a cache."""
    from ..training.estimate import student_training
    from ..training.recipe import sketch_config

    vocab_size, embedding_width = cache.word_embeddings.shape
    sizes = {"vocab_size": vocab_size, "embedding_width": embedding_width}
    config = sketch_config({"kind": "spikebert"} | model, cache.tokenizer.parent, **sizes)
    return student_training(config, settings, tokens)


def cache_digest(folder):
    """Of a cache's manifest, which holds the digest of every file."""
    from ..data.download import file_digest

    return {"manifest_sha256": file_digest(folder / "manifest.json", "sha256")}
