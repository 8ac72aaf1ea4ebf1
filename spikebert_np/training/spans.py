"""Runs of neighbouring words of the training texts: more text for a teacher to label.

Tang et al. 2019 ("Distilling task-specific knowledge from BERT into simple neural networks", arXiv
1903.12136, n-gram sampling) found such pieces enough for a small student to learn far more from its
teacher than the texts themselves say.
"""

from ..data.sentences import SAYS_SOMETHING, WORD


def random_spans(texts, count, rng):
    """So many runs of at least two words of each text, each text and each span once.

    The length is uniform from 2 to all words but one, the place uniform among those where it fits.
    rng: a numpy Generator. Spans without a letter or digit are left out. Returns a list.
    """
    seen, spans = set(texts), []
    for text in texts:
        words = [match.span() for match in WORD.finditer(text)]
        if len(words) < 3:
            continue
        for _ in range(count):
            length = int(rng.integers(2, len(words)))
            first = int(rng.integers(0, len(words) - length + 1))
            span = text[words[first][0] : words[first + length - 1][1]]
            if span not in seen and SAYS_SOMETHING.search(span):
                seen.add(span)
                spans.append(span)
    return spans
