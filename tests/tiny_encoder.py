"""A BERT small enough to train in seconds, its weights drawn from one seed."""

from __future__ import annotations

import re
import string
from collections import Counter
from pathlib import Path

from mtscale.corpora.catalogue import SAMPLE_FOLDER

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def small_vocabulary() -> list[str]:
    """Specials, single characters as words and as continuations, and the frequent words of the sample's training text.

    The characters come first, so that every text in ASCII has pieces; no entry has capitals.
    """
    characters = [*string.ascii_lowercase, *string.digits]
    words: Counter[str] = Counter()
    for path in sorted(SAMPLE_FOLDER.glob("*/train.*")):
        words.update(re.findall("[a-z]{2,}", path.read_text(encoding="utf-8").lower()))
    frequent = sorted(word for word, count in words.items() if count >= 8)
    return [*SPECIAL, *string.punctuation, *characters, *(f"##{character}" for character in characters), *frequent]


def write_tiny_encoder(folder: Path) -> Path:
    """A folder with a BERT of 2 layers and 32 units and a lower-casing tokenizer."""
    # Here and not above: most tests need no torch, and some test that it is not imported.
    import torch
    from transformers import BertConfig, BertModel, BertTokenizer

    vocabulary = small_vocabulary()
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=160,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(20)
        BertModel(config).save_pretrained(folder)
    tokenizer = BertTokenizer(vocab={piece: number for number, piece in enumerate(vocabulary)}, do_lower_case=True)
    tokenizer.save_pretrained(folder)
    return folder
