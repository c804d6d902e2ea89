"""A WordPiece vocabulary trained on text, the same for the same text on every machine.

The trainer of ``tokenizers`` numbers characters inside words in the order of a hash table, and numbers decide between
pairs that are equally frequent. So it is given every character, alone and as a continuation, in a fixed order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from mtscale.errors import ConfigError
from mtscale.recipe_sections import ScratchSettings

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
CONTINUED = "##"
# As in the trainer of tokenizers for BERT: rarer characters become [UNK].
_MOST_CHARACTERS = 1000


def train_vocabulary(texts: Callable[[], Iterable[str]], settings: ScratchSettings) -> dict[str, int]:
    """The pieces and their numbers; ``texts`` is called twice and gives the same documents.

    Raises:
        ConfigError: the vocabulary asked for cannot hold the characters of the text.
    """
    normalizer = normalizers.BertNormalizer(lowercase=settings.case == "lower")
    splitter = pre_tokenizers.BertPreTokenizer()
    counts: Counter[str] = Counter()
    for text in texts():
        counts.update(normalizer.normalize_str(text))
    common = sorted(counts, key=lambda character: (-counts[character], character))
    alphabet = sorted([character for character in common if not character.isspace()][:_MOST_CHARACTERS])
    continued = [character for character in alphabet if _continues(character, normalizer, splitter)]
    fixed = [*SPECIAL, *alphabet, *(CONTINUED + character for character in continued)]
    if len(fixed) > settings.vocabulary:
        raise ConfigError(
            f"pretrain.scratch.vocabulary is {settings.vocabulary}: expected at least {len(fixed)}, for the special "
            "pieces and the characters of the text"
        )
    trainer = trainers.WordPieceTrainer(
        vocab_size=settings.vocabulary,
        min_frequency=settings.min_count,
        special_tokens=fixed,
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        continuing_subword_prefix=CONTINUED,
        show_progress=False,
    )
    tokenizer = Tokenizer(models.WordPiece(unk_token=SPECIAL[1]))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, splitter
    tokenizer.train_from_iterator(texts(), trainer=trainer)
    pieces: dict[str, int] = tokenizer.get_vocab()
    return dict(sorted(pieces.items(), key=lambda item: item[1]))


def _continues(
    character: str, normalizer: normalizers.BertNormalizer, splitter: pre_tokenizers.BertPreTokenizer
) -> bool:
    """Whether a character can stand inside a word: punctuation and Chinese characters are words of their own."""
    return len(splitter.pre_tokenize_str(normalizer.normalize_str(f"a{character}"))) == 1
