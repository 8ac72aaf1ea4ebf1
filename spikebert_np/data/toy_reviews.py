"""`toy_reviews`: short film reviews from a small grammar, whose labels hang on how words combine.

    plain     the acting is sharp                              -> 1
    negated   the acting is not really sharp                   -> 0
    but       the plot was sharp , but the music is dull       -> 0
    but       the plot was dull , but the music is never dull  -> 1

The label (1 praise, 0 blame) is the judgement of the last clause that judges. A negation turns its
clause around; the two clauses around "but" disagree. A neutral clause before or after some of the
sentences shifts every place in them.

So single words tell next to nothing: a word of praise stands in praise and, negated or before
"but", in blame. Nor do two neighbours, since an intensifier may stand between a negation and its
adjective, and the test split holds only combinations that train and dev never show: of subject and
adjective (plain, negated), of negation and adjective, of the two adjectives around "but".
"""

from random import Random

import numpy as np

from .readers import Split

SIZES = {"train": 1200, "dev": 240, "test": 480}
SUBJECTS = ("acting", "camera work", "dialogue", "ending", "music", "plot", "script", "story")
ADJECTIVES = {
    0: ("boring", "clumsy", "dull", "hollow", "lazy", "messy", "shallow", "stale"),
    1: ("brilliant", "charming", "clever", "fresh", "funny", "gripping", "lively", "sharp"),
}
VERBS = ("is", "was")
NEGATIONS = ("barely", "hardly", "never", "not", "scarcely")
INTENSIFIERS = ("really", "so", "truly", "very")
NEUTRAL = ("it runs for two hours", "it is set in a small town", "i saw it on a monday",
           "we watched it at home", "it was shot in winter")  # fmt: skip

_KINDS = ("plain", "negated", "but")
_NEGATED_BESIDE_BUT = 0.25
# A combination is two numbers; their sum modulo 5 says where it may stand.
_SPLIT_OF_REMAINDER = ("test", "dev", "train", "train", "train")


def toy_reviews():
    """{"train": Split, "dev": Split, "test": Split}, the same on every machine.

    Kinds and labels are equally frequent, and no sentence stands twice.
    """
    # Random.random() alone is promised to give the same numbers in every version of Python.
    rng, seen, splits = Random(2308), set(), {}
    for split, size in SIZES.items():
        texts = []
        for n in range(size):
            kind, label = _KINDS[n % len(_KINDS)], n // len(_KINDS) % 2
            text, home = _sentence(rng, kind, label)
            while home != {split} or text in seen:
                text, home = _sentence(rng, kind, label)
            seen.add(text)
            texts.append(text)
        splits[split] = Split(texts, np.arange(size) // len(_KINDS) % 2)
    return splits


def _sentence(rng, kind, label):
    """A sentence, and the set of the splits that its combinations belong to."""
    if kind != "but":
        text, _, sums = _clause(rng, label, negated=kind == "negated")
    else:
        (first, i, first_sums), (second, j, second_sums) = (
            _clause(rng, judgement, negated=rng.random() < _NEGATED_BESIDE_BUT)
            for judgement in (1 - label, label)
        )
        text = f"{first} , but {second}"
        sums = [i + j, *first_sums[1:], *second_sums[1:]]
    if rng.random() < 0.3:
        pair = (text, _pick(rng, NEUTRAL)[0])
        text = " , and ".join(pair if rng.random() < 0.5 else pair[::-1])
    return text, {_SPLIT_OF_REMAINDER[number % 5] for number in sums}


def _clause(rng, judgement, *, negated):
    """A clause of this judgement, its adjective's number, and the sums of its combinations:
    subject + adjective, then, if it is negated, negation + adjective."""
    adjective, i = _pick(rng, ADJECTIVES[judgement ^ negated])
    subject, s = _pick(rng, SUBJECTS)
    verb, _ = _pick(rng, VERBS)
    intensifier = f"{_pick(rng, INTENSIFIERS)[0]} " if rng.random() < 0.5 else ""
    if not negated:
        return f"the {subject} {verb} {intensifier}{adjective}", i, [s + i]
    negation, n = _pick(rng, NEGATIONS)
    return f"the {subject} {verb} {negation} {intensifier}{adjective}", i, [s + i, n + i]


def _pick(rng, options):
    number = int(rng.random() * len(options))
    return options[number], number
