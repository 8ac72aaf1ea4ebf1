"""What `spikebert reproduce` does: the steps of a recipe on a corpus, from the split to the table.

Longer than other files: the steps hang together by what each takes of those before it.
"""

import json
from dataclasses import asdict, replace

from ..errors import InputError
from .steps import Step


class Reproduction:
    """The steps of one recipe on one corpus.

    shared: what all steps depend on, for `make_plan`. seeds: of the students.
    Raises InputError where the recipe, the corpus, the text and the teachers do not fit.
    """

    def __init__(self, recipe, args):
        from ..data.readers import corpus_digest, read_corpus
        from .teacher_finetune import read_labelled

        self.recipe, self.args, self.out = recipe, args, args.out
        self.seeds = list(range(args.seed, args.seed + args.seeds))
        try:
            corpus = read_corpus(args.data)
        except InputError as error:
            raise InputError(f"{error} (how to get this corpus: {recipe.data.get})") from None
        self.has_dev = "dev" in corpus
        if self.has_dev:
            corpus, _ = read_labelled(args.data)  # without a test split
        elif corpus["train"].labels is None:
            raise InputError(f"{args.data}: has no labels; {recipe.data.get}")
        self.corpus, self.classes = corpus, int(corpus["train"].labels.max()) + 1
        self.shared = {"data": {"corpus_sha256": corpus_digest(self.corpus)}}
        if not self.has_dev:
            self.shared["data"] |= {
                "dev_fraction": recipe.data.dev_fraction,
                "dev_seed": recipe.data.dev_seed,
            }
        self.data = args.data if self.has_dev else self.out / "split"
        self._read_text()
        self._find_teachers()

    def _read_text(self):
        """Stage 1's text: needed for stage 1, and for a teacher from nothing."""
        from .teacher_train import training_sentences

        self.text, self.sentences, self.text_digest = None, [], ""
        if stage1 := self.recipe.stage1:
            self.text = self.args.text or self.args.data.absolute().parent / stage1.text
            if not self.text.exists():
                raise InputError(
                    f"{self.text}: stage 1 of {self.recipe.name} needs this text; put it there, or "
                    "give --text FILE"
                )
            self.sentences, self.text_digest = training_sentences([self.text])
        elif self.args.text:
            raise InputError(f"--text: {self.recipe.name} has no stage 1; leave it out")

    def _find_teachers(self):
        """The general teacher and the fine-tuned one, each a path or None where a step makes it."""
        from ..data.pretrained import resolve_teacher
        from .teacher_cache import load_teacher

        recipe, found = self.recipe, {}
        for name in self.args.teacher:
            folder = resolve_teacher(name)
            kind = "fine-tuned" if load_teacher(folder)[0].classes else "general"
            if kind in found:
                raise InputError(f"--teacher: {found[kind]} and {folder} are both {kind}; give one")
            found[kind] = folder
        self.given = found.get("fine-tuned")
        known = load_teacher(self.given)[0].classes if self.given else self.classes
        if known != self.classes:
            raise InputError(
                f"{self.given}: its classifier knows {known} classes, but {self.args.data} has "
                f"{self.classes}; give a teacher made for this task"
            )
        self.general = found.get("general")
        if not self.general and recipe.source and (recipe.stage1 or not self.given):
            self.general = resolve_teacher(recipe.source)
        if self.given and recipe.stage1:
            self._check_same_words()

    def _check_same_words(self):
        """Stage 1 and stage 2 share one vocabulary, or stage 1's weights would mean other words."""
        from ..data.tokenizer import load_tokenizer

        if not self.general:
            raise InputError(
                f"{self.recipe.name}: trains its general teacher from nothing, whose words would "
                f"not be those of {self.given}; give the general teacher that it was fine-tuned "
                "from too, with a second --teacher"
            )
        words = [load_tokenizer(folder).to_str() for folder in (self.general, self.given)]
        if words[0] != words[1]:
            raise InputError(
                f"{self.given}: its tokenizer is not that of {self.general}, which stage 1 learns "
                "from; give a fine-tuned and a general teacher with the same words"
            )

    def steps(self):
        """All of them, in order."""
        from ..training import estimate
        from ..training.estimate import PYTHON_BYTES, Estimate
        from ..training.recipe import STUDENTS
        from .teacher_cache import check_layers

        recipe, config, steps = self.recipe, self._bert_config(), []
        check_layers(list(recipe.cache.layers), config.depth)
        train = self.corpus["train"].texts
        everything = [text for split in self.corpus.values() for text in split.texts]
        length = recipe.cache.max_tokens
        task_tokens = estimate.count_tokens(everything, length)
        train_tokens = estimate.count_tokens(train, length)

        def add(name, needs, settings, cost, make):
            steps.append(Step(name, tuple(n for n in needs if n), settings, cost, make))

        split = pretrained = teacher = stage1 = ""
        if not self.has_dev:
            split = "split"
            disk = sum(len(text.encode()) for text in train)
            add(split, (), {}, Estimate(1.0, disk, PYTHON_BYTES), self._split)
        if not self.general and not self.given:
            pretrained = "pretrained"
            settings = {
                "shape": asdict(recipe.shape),
                "training": asdict(recipe.pretraining),
                "max_tokens": length,
                "text_sha256": self.text_digest,
            }
            tokens = estimate.count_tokens(self.sentences, length) + train_tokens
            cost = estimate.teacher_training(config, recipe.pretraining, tokens, words=True)
            add(pretrained, (split,), settings, cost, self._pretrain)
        if not self.given:
            teacher = "teacher"
            settings = asdict(recipe.finetuning) | {"max_tokens": length}
            settings |= self._identity(self.general)
            cost = estimate.teacher_training(config, recipe.finetuning, train_tokens)
            add(teacher, (split, pretrained), settings, cost, self._finetune)
        settings = _plain(recipe.cache) | self._identity(self.given)
        cost = estimate.caching(config, recipe.cache, task_tokens, len(everything))
        add("cache", (split, teacher), settings, cost, self._cache)
        if recipe.stage1:
            tokens, settings, cost = self._text_cache(config, recipe.stage1.sentences)
            settings |= self._identity(self.general)
            add("stage1-cache", (pretrained,), settings, cost, self._cache_text)
            stage1 = "stage1"
            settings = {"training": asdict(recipe.stage1_training)} | self._model("distilled")
            cost = self._cost("distilled", config, recipe.stage1_training, tokens)
            add(stage1, ("cache", "stage1-cache"), settings, cost, self._stage1)
        more, more_tokens = "", 0
        if recipe.stage2.sentences:
            more = "more-cache"
            more_tokens, settings, cost = self._text_cache(config, recipe.stage2.sentences)
            settings |= self._identity(self.given)
            add(more, (teacher,), settings, cost, self._cache_more)
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
        """Tokens, settings and an Estimate of caching so many sentences of stage 1's text."""
        from ..training import estimate

        settings = self.recipe.cache
        share = min(1.0, sentences / max(1, len(self.sentences)))
        tokens = share * estimate.count_tokens(self.sentences, settings.max_tokens)
        cost = estimate.caching(config, replace(settings, hidden_sentences=0), tokens, sentences)
        settings = _plain(settings) | {"sentences": sentences, "text_sha256": self.text_digest}
        return tokens, settings, cost

    def _bert_config(self):
        from ..models.bert_checkpoint import read_config
        from .teacher_train import bert_config

        if found := self.given or self.general:
            return read_config(found / "config.json")
        return bert_config(self.recipe.shape, self.recipe.pretraining, self.recipe.cache.max_tokens)

    def _identity(self, folder):
        """What tells a given teacher from another; nothing for one that a step makes."""
        from ..data.download import file_digest

        if not folder:
            return {}
        return {"teacher_sha256": file_digest(folder / "model.safetensors", "sha256")}

    def _training(self, name, seed):
        return replace(self.recipe.training[name], seed=seed)

    def _model(self, name):
        choices = dict(self.recipe.models[name])
        if "neuron" in choices:
            choices["neuron"] = asdict(choices["neuron"])
        return {"model": choices}

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
            [path for path in (self.text, self.data) if path],
            folder,
            recipe.pretraining,
            recipe.shape,
            max_tokens=recipe.cache.max_tokens,
            quiet=self.args.quiet,
        )

    def _finetune(self, folder):
        from .teacher_finetune import finetune

        finetune(
            self._general_teacher(),
            self.data,
            folder,
            self.recipe.finetuning,
            max_tokens=self.recipe.cache.max_tokens,
            quiet=self.args.quiet,
        )

    def _general_teacher(self):
        return self.general or self.out / "pretrained"

    def _task_corpus(self):
        from .teacher_finetune import read_labelled

        return read_labelled(self.data)[0]

    def _cache(self, folder):
        corpus, settings = self._task_corpus(), self.recipe.cache
        if self.given:
            _check_trained_on(self.given, corpus)
        self._write_cache(
            self.given or self.out / "teacher",
            corpus,
            folder,
            hidden_sentences=settings.hidden_sentences or None,
        )

    def _cache_text(self, folder):
        corpus = self._drawn(self.recipe.stage1.sentences)
        self._write_cache(self._general_teacher(), corpus, folder)

    def _cache_more(self, folder):
        corpus = self._drawn(self.recipe.stage2.sentences)
        self._write_cache(self.given or self.out / "teacher", corpus, folder)

    def _drawn(self, count):
        """So many sentences of stage 1's text as a corpus; fewer are a part of more."""
        import numpy as np

        from ..data.readers import Split

        drawn = np.sort(np.random.default_rng(0).permutation(len(self.sentences))[:count])
        return {"train": Split([self.sentences[i] for i in drawn], None)}

    def _write_cache(self, teacher, corpus, folder, **how):
        from .teacher_cache import cache_corpus

        settings = self.recipe.cache
        cache_corpus(
            teacher,
            self.data,
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
            init, more = "", []
            if STUDENTS[name].distilled and self.recipe.stage2.sentences:
                more = [self.out / "more-cache"]
            if self.recipe.stage1 and STUDENTS[name].distilled:
                init = self.out / "stage1"
                params = load_run(init).params
            else:
                params = new_student(cache, config, settings)
            self._train(folder, "finetune", cache, params, config, settings, init, more)

        return make

    def _train(self, folder, stage, cache, params, config, settings, init="", more=()):
        from ..data.teacher_cache import load_cache
        from ..training.stages import run_stage, teacher_word_rows
        from .train import print_epoch

        about = {"stage": stage, "cache": str(cache.tokenizer.parent), "more": [*map(str, more)]}
        about["init"] = str(init)
        about["embedding_scale"] = teacher_word_rows(cache)[1]
        run_stage(
            folder,
            stage,
            cache,
            params,
            config,
            settings,
            more=[load_cache(other) for other in more],
            tables={"training": asdict(settings), "data": about},
            on_epoch=print_epoch,
            quiet=self.args.quiet,
        )

    def _baselines(self, folder):
        from ..data.teacher_cache import load_cache
        from ..training.baselines import baseline_rows, teacher_accuracy_on_dev
        from .results import training_seconds, write_baselines
        from .steps import peak_of
        from .teacher_cache import load_teacher

        cache, teacher = load_cache(self.out / "cache"), self.given or self.out / "teacher"
        rows = baseline_rows(self._task_corpus(), cache)
        rows.append(
            {
                "model": "teacher, fine-tuned",
                "accuracy": teacher_accuracy_on_dev(cache),
                "parameters": sum(value.size for value in load_teacher(teacher)[1].values()),
                "seconds": training_seconds(teacher),
                "peak_bytes": None if self.given else peak_of(self.out, "teacher"),
            }
        )
        first, last = cache.splits["dev"]
        write_baselines(folder, rows, last - first)


def _plain(settings):
    return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(settings).items()}


def _check_trained_on(teacher, corpus):
    """Raises InputError where a teacher says that it was fine-tuned on another corpus or split."""
    from ..data.readers import corpus_digest

    record = teacher / "settings.json"
    digest = json.loads(record.read_text("utf-8")).get("corpus_sha256") if record.is_file() else ""
    if not digest:
        print(f"{teacher}: does not say what it was fine-tuned on; see that dev was not part of it")
    elif digest != corpus_digest(corpus):
        raise InputError(
            f"{teacher}: was fine-tuned on another corpus, or on another split of it, so that it "
            "may have learnt from dev; leave --teacher out, or fine-tune one on this split"
        )
