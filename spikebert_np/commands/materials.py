"""What a reproduction begins with: a corpus, a text, teachers; and that they fit the recipe."""

from ..errors import InputError
from ..files import read_json


class Materials:
    """What the user gave, read once.

    corpus: {"train": Split} and, where it has one, "dev": Split; never a test split. classes: C.
    has_dev: whether the corpus has a dev split. data: the path of the corpus with a dev split.
    about: the settings that all steps depend on.
    sentences, text, text_digest: of the unlabelled text.
    tuned: the fine-tuned teacher, general: the general one, each None where a step makes it.
    Raises InputError where the recipe, the corpus, the text and the teachers do not fit.
    """

    def __init__(self, recipe, args):
        from ..data.readers import corpus_digest, read_corpus
        from .teacher_finetune import read_labelled

        self.recipe, self.args = recipe, args
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
        self.about = {"data": {"corpus_sha256": corpus_digest(self.corpus)}}
        if not self.has_dev:
            self.about["data"] |= {
                "dev_fraction": recipe.data.dev_fraction,
                "dev_seed": recipe.data.dev_seed,
            }
        self.data = args.data if self.has_dev else args.out / "split"
        self._read_text()
        self._find_teachers()

    def _read_text(self):
        """The unlabelled text, where anything is to be learnt from it."""
        from .teacher_train import training_sentences

        self.text, self.sentences, self.text_digest = None, [], ""
        recipe = self.recipe
        if recipe.stage1 or recipe.stage2.sentences or (recipe.data.text and not recipe.source):
            self.text = self.args.text or self.args.data.absolute().parent / recipe.data.text
            if not self.text.exists():
                raise InputError(
                    f"{self.text}: {recipe.name} needs unlabelled text, one a line; put it there, "
                    "or give --text FILE"
                )
            self.sentences, self.text_digest = training_sentences([self.text])
        elif self.args.text:
            raise InputError(f"--text: {recipe.name} reads no unlabelled text; leave it out")

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
        self.tuned = found.get("fine-tuned")
        known = load_teacher(self.tuned)[0].classes if self.tuned else self.classes
        if known != self.classes:
            raise InputError(
                f"{self.tuned}: its classifier knows {known} classes, but {self.args.data} has "
                f"{self.classes}; give a teacher made for this task"
            )
        self.general = found.get("general")
        if not self.general and recipe.source and (recipe.stage1 or not self.tuned):
            self.general = resolve_teacher(recipe.source)
        if self.tuned and recipe.stage1:
            self._check_same_words()

    def _check_same_words(self):
        """Stage 1 and stage 2 share one vocabulary, or stage 1's weights would mean other words."""
        from ..data.tokenizer import load_tokenizer

        if not self.general:
            raise InputError(
                f"{self.recipe.name}: trains its general teacher from nothing, whose words would "
                f"not be those of {self.tuned}; give the general teacher that it was fine-tuned "
                "from too, with a second --teacher"
            )
        words = [load_tokenizer(folder).to_str() for folder in (self.general, self.tuned)]
        if words[0] != words[1]:
            raise InputError(
                f"{self.tuned}: its tokenizer is not that of {self.general}, which stage 1 learns "
                "from; give a fine-tuned and a general teacher with the same words"
            )

    def bert_config(self):
        """The BertConfig of the teacher that is cached, given or made by a step."""
        from ..models.bert_checkpoint import read_config
        from .teacher_train import bert_config

        if found := self.tuned or self.general:
            return read_config(found / "config.json")
        return bert_config(self.recipe.shape, self.recipe.pretraining, self.recipe.cache.max_tokens)


def identity(teacher):
    """What tells a given teacher from another; nothing for None, one that a step makes."""
    from ..data.download import file_digest

    if not teacher:
        return {}
    return {"teacher_sha256": file_digest(teacher / "model.safetensors", "sha256")}


def check_trained_on(teacher, corpus):
    """Raises InputError where a teacher says that it was fine-tuned on another corpus or split."""
    from ..data.readers import corpus_digest

    record = teacher / "settings.json"
    known = read_json(record, remedy="fine-tune it again") if record.is_file() else {}
    digest = known.get("corpus_sha256")
    if not digest:
        print(f"{teacher}: does not say what it was fine-tuned on; see that dev was not part of it")
    elif digest != corpus_digest(corpus):
        raise InputError(
            f"{teacher}: was fine-tuned on another corpus, or on another split of it, so that it "
            "may have learnt from dev; leave --teacher out, or fine-tune one on this split"
        )
