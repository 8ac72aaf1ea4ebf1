"""A WordPiece vocabulary of one's own text, by the `tokenizers` library."""

SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def train_tokenizer(texts, vocab_size):
    """A BERT tokenizer: lower case, each Chinese character by itself, `vocab_size` pieces at most.

    texts: strings. Returns a `tokenizers.Tokenizer` whose ids 0 to 4 are SPECIALS, the other pieces
    sorted behind them: the library numbers pieces in an order that changes from run to run. (Which
    of two pieces that are as frequent is kept may still change.)
    """
    from tokenizers import BertWordPieceTokenizer, Tokenizer

    trained = BertWordPieceTokenizer()
    trained.train_from_iterator(
        texts, vocab_size=vocab_size, special_tokens=list(SPECIALS), show_progress=False
    )
    pieces = [*SPECIALS, *sorted(set(trained.get_vocab()) - set(SPECIALS))]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    return Tokenizer.from_str(BertWordPieceTokenizer(vocabulary).to_str())
