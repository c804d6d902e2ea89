"""What all tests share: no settings from outside, a cache of their own, and a BERT small enough to train in seconds."""

from __future__ import annotations

import logging
import os
import re
import string
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mtscale.corpora.catalogue import SAMPLE_FOLDER

if TYPE_CHECKING:
    from mtscale.inputs.encode import PieceVocabulary

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    for name in [name for name in os.environ if name.startswith("MTSCALE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MTSCALE_CACHE", str(tmp_path_factory.getbasetemp() / "encoded"))


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


@pytest.fixture(autouse=True)
def _own_logger() -> Iterator[None]:
    """A command run in this process sends mtscale's log to the console; the next test finds it as it was."""
    logger = logging.getLogger("mtscale")
    handlers, propagate, level = list(logger.handlers), logger.propagate, logger.level
    yield
    logger.handlers, logger.propagate = handlers, propagate
    logger.setLevel(level)


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a BERT of 2 layers and 32 units with a lower-casing tokenizer, its weights drawn from one seed."""
    # Here and not above: most tests need no torch, and some test that it is not imported.
    import torch
    from transformers import BertConfig, BertModel, BertTokenizer

    folder = tmp_path_factory.mktemp("encoder") / "tiny-bert"
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


@pytest.fixture(scope="session")
def tiny_vocabulary(tiny_encoder: Path) -> PieceVocabulary:
    """What encoding needs of the tiny encoder's tokenizer."""
    from mtscale.inputs.encode import PieceVocabulary
    from mtscale.model.encoder import load_tokenizer

    tokenizer = load_tokenizer(str(tiny_encoder))
    assert isinstance(tokenizer.cls_token_id, int)
    assert isinstance(tokenizer.sep_token_id, int)
    assert isinstance(tokenizer.unk_token_id, int)
    return PieceVocabulary(
        tokenizer.backend_tokenizer, tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.unk_token_id
    )
