"""What `spikebert reproduce` does: the steps of a recipe on a corpus, from the split to the table.

Longer than other files: the steps hang together by what each takes of those before it.
"""

from dataclasses import asdict, replace

from ..errors import InputError
from .materials import Materials, check_trained_on, identity
from .steps import Step


class Reproduction:
    """The steps of one recipe on one corpus. seeds: of the students.

    Raises InputError as Materials does.
    """

    def __init__(self, recipe, args):
        self.recipe, self.args, self.out = recipe, args, args.out
        self.seeds = list(range(args.seed, args.seed + args.seeds))
        self.start = Materials(recipe, args)

    def steps(self):
        """All of them, in order."""
        from ..training import estimate
        from ..training.estimate import PYTHON_BYTES, Estimate
        from ..training.recipe import STUDENTS
        from .teacher_cache import check_layers

        recipe, config, steps = self.recipe, self.start.bert_config(), []
        check_layers(list(recipe.cache.layers), config.depth)
        train = self.start.corpus["train"].texts
        everything = [text for split in self.start.corpus.values() for text in split.texts]
        length = recipe.cache.max_tokens
        task_tokens = estimate.count_tokens(everything, length)
        train_tokens = estimate.count_tokens(train, length)

        def add(name, needs, settings, cost, make):
            steps.append(Step(name, tuple(n for n in needs if n), settings, cost, make))

        split = pretrained = teacher = stage1 = ""
        if not self.start.has_dev:
            split = "split"
            disk = sum(len(text.encode()) for text in train)
            add(split, (), {}, Estimate(1.0, disk, PYTHON_BYTES), self._split)
        if not self.start.general and not self.start.tuned:
            pretrained = "pretrained"
            settings = {
                "shape": asdict(recipe.shape),
                "training": asdict(recipe.pretraining),
                "max_tokens": length,
                "text_sha256": self.start.text_digest,
            }
            tokens = estimate.count_tokens(self.start.sentences, length) + train_tokens
            cost = estimate.teacher_training(config, recipe.pretraining, tokens, length, words=True)
            add(pretrained, (split,), settings, cost, self._pretrain)
        if not self.start.tuned:
            teacher = "teacher"
            settings = asdict(recipe.finetuning) | {"max_tokens": length}
            settings |= identity(self.start.general)
            cost = estimate.teacher_training(config, recipe.finetuning, train_tokens, length)
            add(teacher, (split, pretrained), settings, cost, self._finetune)
        settings = _plain(recipe.cache) | identity(self.start.tuned)
        cost = estimate.caching(config, recipe.cache, task_tokens, len(everything))
        add("cache", (split, teacher), settings, cost, self._cache)
        if recipe.stage1:
            tokens, settings, cost = self._text_cache(config, recipe.stage1.sentences)
            settings |= identity(self.start.general)
            add("stage1-cache", (split, pretrained), settings, cost, self._cache_text)
            stage1 = "stage1"
            settings = {"training": asdict(recipe.stage1_training)} | self._model("distilled")
            cost = self._cost("distilled", config, recipe.stage1_training, tokens)
            add(stage1, ("cache", "stage1-cache"), settings, cost, self._stage1)
        more, more_tokens = "", 0
        if recipe.stage2.more:
            more = "more-cache"
            more_tokens, settings, cost = self._more_cache(config, train_tokens)
            add(more, (split, teacher), settings, cost, self._cache_more)
        for seed in self.seeds:
            for name, student in STUDENTS.items():
                settings = {"training": asdict(self._training(name, seed))} | self._model(name)
                tokens = train_tokens + more_tokens * student.distilled
                cost = self._cost(name, config, recipe.training[name], tokens)
                needs = ("cache", *((stage1, more) if student.distilled else ()))
                add(f"seed{seed}/{name}", needs, settings, cost, self._student(name, seed))
        minute = Estimate(60.0, 0.0, PYTHON_BYTES + 2e9)
        add("baselines", ("cache", teacher), {}, minute, self._baselines)
        return steps

    def _text_cache(self, config, sentences):
        """Tokens, settings and an Estimate of caching so many sentences of the unlabelled text."""
        from ..training import estimate

        settings, start = self.recipe.cache, self.start
        share = min(1.0, sentences / max(1, len(start.sentences)))
        tokens = share * estimate.count_tokens(start.sentences, settings.max_tokens)
        cost = estimate.caching(config, replace(settings, hidden_sentences=0), tokens, sentences)
        settings = _plain(settings) | {"sentences": sentences, "text_sha256": start.text_digest}
        return tokens, settings, cost

    def _more_cache(self, config, train_tokens):
        """Tokens, settings and an Estimate of caching what stage 2 learns from as well."""
        from ..training import estimate

        stage2, train = self.recipe.stage2, self.start.corpus["train"].texts
        tokens, settings = 0.0, _plain(self.recipe.cache) | {"spans": stage2.spans}
        if stage2.sentences:
            tokens, drawn, _ = self._text_cache(config, stage2.sentences)
            settings |= drawn
        tokens += stage2.spans * train_tokens / 2  # a span is half of its text on the average
        count = stage2.sentences + stage2.spans * len(train)
        cache = replace(self.recipe.cache, hidden_sentences=0)
        cost = estimate.caching(config, cache, tokens, count)
        return tokens, settings | identity(self.start.tuned), cost

    def _training(self, name, seed):
        return replace(self.recipe.training[name], seed=seed)

    def _model(self, name):
        from ..training.recipe import plain_choices

        return {"model": plain_choices(self.recipe.models[name])}

    def _cost(self, name, bert, settings, tokens):
        """An Estimate of training a student on so many tokens."""
        from ..training.estimate import student_training
        from ..training.recipe import sketch_config

        sizes = {"vocab_size": bert.vocab_size, "embedding_width": bert.width}
        config = sketch_config(self.recipe.models[name], self.recipe.name, **sizes)
        return student_training(config, settings, tokens)

    def _split(self, folder):
        from ..data.split import split_corpus

        data = self.recipe.data
        split_corpus(self.args.data, folder, dev_fraction=data.dev_fraction, seed=data.dev_seed)

    def _pretrain(self, folder):
        from .teacher_train import pretrain

        recipe = self.recipe
        pretrain(
            [path for path in (self.start.text, self.start.data) if path],
            folder,
            recipe.pretraining,
            recipe.shape,
            max_tokens=recipe.cache.max_tokens,
            data=self.start.data,
            quiet=self.args.quiet,
        )

    def _finetune(self, folder):
        from .teacher_finetune import finetune

        finetune(
            self._general_teacher(),
            self.start.data,
            folder,
            self.recipe.finetuning,
            max_tokens=self.recipe.cache.max_tokens,
            quiet=self.args.quiet,
        )

    def _general_teacher(self):
        return self.start.general or self.out / "pretrained"

    def _task_corpus(self):
        from .teacher_finetune import read_labelled

        return read_labelled(self.start.data)[0]

    def _cache(self, folder):
        corpus, settings = self._task_corpus(), self.recipe.cache
        if self.start.tuned:
            check_trained_on(self.start.tuned, corpus)
        self._write_cache(
            self.start.tuned or self.out / "teacher",
            corpus,
            folder,
            hidden_sentences=settings.hidden_sentences or None,
        )

    def _cache_text(self, folder):
        texts = self._drawn(self.recipe.stage1.sentences)
        self._write_text_cache(self._general_teacher(), texts, folder)

    def _cache_more(self, folder):
        import numpy as np

        from ..training.spans import random_spans

        stage2, train = self.recipe.stage2, self._task_corpus()["train"].texts
        spans = random_spans(train, stage2.spans, np.random.default_rng(0))
        texts = [*self._drawn(stage2.sentences), *spans]
        self._write_text_cache(self.start.tuned or self.out / "teacher", texts, folder)

    def _drawn(self, count):
        """So many sentences of the unlabelled text; fewer are a part of more."""
        import numpy as np

        drawn = np.sort(np.random.default_rng(0).permutation(len(self.start.sentences))[:count])
        return [self.start.sentences[i] for i in drawn]

    def _without_dev(self, texts):
        """Those that are no text, and no sentence of a text, of dev."""
        from ..data.sentences import split_sentences
        from ..data.split import text_key

        dev = self._task_corpus()["dev"].texts
        held_out = {text_key(part) for text in dev for part in (text, *split_sentences(text))}
        return [text for text in texts if text_key(text) not in held_out]

    def _write_text_cache(self, teacher, texts, folder):
        from ..data.readers import Split

        corpus = {"train": Split(self._without_dev(texts), None)}
        self._write_cache(teacher, corpus, folder)

    def _write_cache(self, teacher, corpus, folder, **how):
        from .teacher_cache import cache_corpus

        settings = self.recipe.cache
        cache_corpus(
            teacher,
            self.start.data,
            corpus,
            folder,
            layers=list(settings.layers),
            max_tokens=settings.max_tokens,
            dtype=settings.dtype,
            quiet=self.args.quiet,
            **how,
        )

    def _stage1(self, folder):
        from ..data.teacher_cache import load_cache
        from ..training.stages import new_student, student_config

        cache, text = load_cache(self.out / "cache"), load_cache(self.out / "stage1-cache")
        if cache.tokenizer.read_bytes() != text.tokenizer.read_bytes():
            raise InputError(f"{text.tokenizer}: is not that of {self.out / 'cache'}")
        # The task's config, with its classes, so that the very weights go on in stage 2.
        config = student_config(cache, where=self.recipe.name, **self.recipe.models["distilled"])
        settings = self.recipe.stage1_training
        params = new_student(text, config, settings)
        self._train(folder, "pretrain", text, params, config, settings)

    def _student(self, name, seed):
        from ..training.recipe import STUDENTS

        def make(folder):
            from ..data.teacher_cache import load_cache
            from ..training.checkpoint import load_run
            from ..training.stages import new_student, student_config

            cache, settings = load_cache(self.out / "cache"), self._training(name, seed)
            config = student_config(cache, where=self.recipe.name, **self.recipe.models[name])
            init, more, body = "", [], None
            if STUDENTS[name].distilled and self.recipe.stage2.more:
                more = [self.out / "more-cache"]
            if self.recipe.stage1 and STUDENTS[name].distilled:
                init = self.out / "stage1"
                body = load_run(init).params
            params = new_student(cache, config, settings, body)
            self._train(folder, "finetune", cache, params, config, settings, init, more)

        return make

    def _train(self, folder, stage, cache, params, config, settings, init="", more=()):
        from ..data.teacher_cache import load_cache
        from ..training.stages import run_stage, run_tables
        from .train import print_epoch

        where = cache.tokenizer.parent
        run_stage(
            folder,
            stage,
            cache,
            params,
            config,
            settings,
            more=[load_cache(other) for other in more],
            tables=run_tables(
                stage, cache, settings, name=where, more=more, init=init, new_words=bool(init)
            ),
            on_epoch=print_epoch,
            quiet=self.args.quiet,
        )

    def _baselines(self, folder):
        from ..data.teacher_cache import load_cache
        from ..training.baselines import baseline_rows, teacher_accuracy_on_dev
        from .results import training_seconds
        from .steps import peak_of, write_step_json
        from .teacher_cache import load_teacher

        cache, teacher = load_cache(self.out / "cache"), self.start.tuned or self.out / "teacher"
        rows = baseline_rows(self._task_corpus(), cache)
        rows.append(
            {
                "model": "teacher, fine-tuned",
                "accuracy": teacher_accuracy_on_dev(cache),
                "parameters": sum(value.size for value in load_teacher(teacher)[1].values()),
                "seconds": training_seconds(teacher),
                "peak_bytes": None if self.start.tuned else peak_of(self.out, "teacher"),
            }
        )
        first, last = cache.splits["dev"]
        table = {"dev_sentences": int(last - first), "rows": rows}
        write_step_json(folder, "baselines.json", table)


def _plain(settings):
    return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(settings).items()}
