"""What `spikebert ablate` does: each variant's runs, from the caches of `spikebert reproduce`."""

from dataclasses import asdict, replace

from ..errors import InputError
from .steps import Step


class Ablation:
    """The steps of the variants `names` (all where it is None) for the seeds, at a Budget.

    out: the folder of `spikebert reproduce`, of which `cache` and `stage1-cache` are read.
    Raises InputError where one is missing or lacks hidden states, or a name is not of a variant.
    """

    def __init__(self, out, to, budget, seeds, *, names=None, quiet=False):
        from ..training.ablations import setups
        from ..training.corpora import has_hidden, split_corpus

        self.out, self.to, self.budget, self.seeds, self.quiet = out, to, budget, seeds, quiet
        self.cache = open_cache_of(out, "cache")
        self.text = self._open_text() if budget.sentences else None
        if not has_hidden(split_corpus(self.cache, "train")):
            raise InputError(
                f"{out / 'cache'}: has hidden states for only part of the train split; give the "
                "--out of a recipe that has no hidden_sentences"
            )
        self.setups = setups(budget, self.cache.word_embeddings.shape[1])
        self.names = list(names or self.setups)
        for name in self.names:
            if name not in self.setups:
                raise InputError(f"--only: {name} is not one of {', '.join(self.setups)}")

    @property
    def shared(self):
        """The settings that every step depends on."""
        found = {"cache": cache_digest(self.out / "cache")}
        if self.text:
            found["stage1-cache"] = cache_digest(self.out / "stage1-cache")
        return found

    def steps(self, names=None):
        """Those of the variants `names`, in order."""
        from ..training.estimate import student_training
        from ..training.recipe import sketch_config

        first, last = self.cache.splits["train"]
        tokens = int(self.cache.offsets[last] - self.cache.offsets[first])
        sizes = {"vocab_size": len(self.cache.word_embeddings)}
        sizes["embedding_width"] = self.cache.word_embeddings.shape[1]
        steps = {}
        for name in names or self.names:
            setup = self.setups[name]
            model = {"model": setup.plain_model}
            config = sketch_config({"kind": "spikebert"} | setup.model, name, **sizes)
            needs = ()
            if setup.stage1:
                needs = (f"stage1/{setup.stage1_of}",)
                read = int(self.text.offsets[self.text.splits["train"][1]])
                settings = {"training": asdict(setup.stage1), "sentences": self.budget.sentences}
                cost = student_training(config, setup.stage1, read)
                make = self._stage1(setup)
                steps.setdefault(needs[0], Step(needs[0], (), settings | model, cost, make))
            for seed in self.seeds:
                training = replace(setup.stage2, seed=seed)
                cost = student_training(config, training, tokens)._replace(disk_bytes=0.0)
                settings = {"training": asdict(training)} | model
                step = Step(f"{name}/seed{seed}", needs, settings, cost, self._run(setup, training))
                steps[step.name] = step
        return list(steps.values())

    def _open_text(self):
        """The cache of stage 1's text, its train split cut to the first sentences."""
        text = open_cache_of(self.out, "stage1-cache")
        first, last = text.splits["train"]
        return text._replace(splits={"train": (first, min(last, first + self.budget.sentences))})

    def _stage1(self, setup):
        def make(folder):
            self._train(folder, "pretrain", self.text, setup, setup.stage1)

        return make

    def _run(self, setup, training):
        def make(folder):
            init = self.to / "stage1" / setup.stage1_of if setup.stage1 else ""
            self._train(folder, "finetune", self.cache, setup, training, init)
            # Of a hundred runs the weights would fill a disk: config.toml repeats a run.
            for name in ("model.safetensors", "tokenizer.json", "report.md"):
                (folder / name).unlink()

        return make

    def _train(self, folder, stage, cache, setup, settings, init=""):
        from ..training.ablations import spread
        from ..training.checkpoint import load_run
        from ..training.stages import new_student, run_stage, run_tables, student_config
        from .train import print_epoch

        config = student_config(self.cache, where=setup.variant.name, **setup.model)
        params = load_run(init).params if init else new_student(cache, config, settings)
        run_stage(
            folder,
            stage,
            spread(cache, config.blocks),
            params,
            config,
            settings,
            tables=run_tables(stage, cache, settings, name=cache.tokenizer.parent, init=init),
            on_epoch=print_epoch,
            quiet=self.quiet,
        )


def open_cache_of(out, name):
    """The TeacherCache that `spikebert reproduce` left in out / name. Raises InputError without."""
    from ..data.teacher_cache import load_cache

    if not (out / name / "manifest.json").is_file():
        unless = " (or --sentences 0, which does without)" if name == "stage1-cache" else ""
        raise InputError(
            f"{out / name}: no such cache; give the --out of a `spikebert reproduce` that has come "
            f"so far{unless}"
        )
    return load_cache(out / name)


def cache_digest(folder):
    """Of a cache's manifest, which holds the digest of every file."""
    from ..data.download import file_digest

    return {"manifest_sha256": file_digest(folder / "manifest.json", "sha256")}
