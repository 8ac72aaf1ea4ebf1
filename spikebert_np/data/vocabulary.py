"""A WordPiece vocabulary of one's own text, by the `tokenizers` library."""

SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def train_tokenizer(texts, vocab_size):
    """A BERT tokenizer: lower case, each Chinese character by itself, `vocab_size` pieces at most.

    texts: a list of strings. Returns a `tokenizers.Tokenizer` whose ids 0 to 4 are SPECIALS, the
    other pieces sorted behind them: the library numbers pieces in an order that changes from run to
    run. (Which of two pieces that are as frequent is kept may still change.)
    """
    from tokenizers import BertWordPieceTokenizer, Tokenizer

    # The library keeps the 1,000 commonest letters by default: of Chinese, a third.
    letters = vocab_size - len(SPECIALS)
    pieces = _train(texts, vocab_size, letters)
    # Letters inside words, ##x, come on top; of letters as common, which are left out is by chance.
    while (excess := len(pieces) - vocab_size) > 0 and letters > 0:
        letters = min(letters, sum(len(piece) == 1 for piece in pieces)) - excess
        pieces = _train(texts, vocab_size, letters)
    pieces = [*SPECIALS, *sorted(pieces - set(SPECIALS))]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    return Tokenizer.from_str(BertWordPieceTokenizer(vocabulary).to_str())


def _train(texts, vocab_size, letters):
    """The set of pieces, made of so many commonest letters at most; it may exceed vocab_size."""
    from tokenizers import BertWordPieceTokenizer

    trained = BertWordPieceTokenizer()
    trained.train_from_iterator(
        texts,
        vocab_size=vocab_size,
        limit_alphabet=max(0, letters),
        special_tokens=list(SPECIALS),
        show_progress=False,
    )
    return set(trained.get_vocab())
