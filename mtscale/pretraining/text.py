"""All that the pretraining of a recipe reads: its text as shards, the tokenizer, the masks."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from transformers import BertTokenizer, PreTrainedTokenizerBase

from mtscale.encoders import ACCESS
from mtscale.errors import ConfigError
from mtscale.inputs.encode import PieceVocabulary
from mtscale.inputs.private import InUse, file_hash, locked
from mtscale.model.encoder import load_tokenizer, open_tokenizer
from mtscale.pretraining.documents import Stretch, cut
from mtscale.pretraining.masking import Masking
from mtscale.pretraining.shards import (
    SHARD_BYTES,
    TextCorpus,
    TextEncoding,
    TextSource,
    continuing_pieces,
    documents,
)
from mtscale.pretraining.sources import TextFiles
from mtscale.pretraining.vocabulary import train_vocabulary
from mtscale.recipe import Recipe
from mtscale.recipe_sections import PretrainSettings

# A vocabulary is trained on as much text, taken from all over the corpus: the counts of its pieces fit into memory.
VOCABULARY_SHARDS = 4


@dataclass(frozen=True)
class PretrainText:
    """The corpus, the tokenizer that cuts it into pieces, and how its rows are masked."""

    corpus: TextCorpus
    tokenizer: PreTrainedTokenizerBase
    masking: Masking

    @property
    def vocabulary(self) -> PieceVocabulary:
        """What encoding needs of the tokenizer."""
        return self.corpus.encoding.vocabulary


def open_text(recipe: Recipe, files: TextFiles, shard_bytes: int = SHARD_BYTES) -> PretrainText:
    """The text of ``[pretrain]``, encoded as far as it is not yet; a vocabulary from scratch is trained first.

    Raises:
        ConfigError: the tokenizer does not fit, or the cache cannot be written.
        DataError: a file is malformed, or there are too few documents.
    """
    settings, folder = recipe.pretrain, files.cache_folder()
    shards = cut(files.paths, settings.format, shard_bytes)
    source = TextSource(settings.format, settings.field, settings.clean, settings.heldout)
    in_use = InUse(folder)  # until the corpus holds it
    if settings.start == "scratch":
        place = _vocabulary(shards, source, settings, recipe.encoder.max_pieces, folder)
        tokenizer = open_tokenizer(str(place), "from scratch")
    else:
        tokenizer = load_tokenizer(recipe.encoder.name)
    masking = _masking(tokenizer, settings)
    encoding = TextEncoding(source, PieceVocabulary.of(tokenizer), recipe.encoder.max_pieces)
    corpus = TextCorpus(shards, encoding, folder, settings.cache_gib * 2**30)
    del in_use
    _ = corpus.counts
    return PretrainText(corpus, tokenizer, masking)


def _masking(tokenizer: PreTrainedTokenizerBase, settings: PretrainSettings) -> Masking:
    if not isinstance(tokenizer.mask_token_id, int):
        raise ConfigError("stage pretrain: the encoder's tokenizer has no mask token, so it cannot learn by masks")
    backend = tokenizer.backend_tokenizer
    if settings.masking == "words" and type(backend.model).__name__ != "WordPiece":
        raise ConfigError(
            "pretrain.masking = 'words' knows words by WordPiece's ##, and the encoder's tokenizer is none: use "
            "'pieces'"
        )
    ordinary = set(range(backend.get_vocab_size())) - set(tokenizer.all_special_ids)
    return Masking(
        rate=settings.mask_rate,
        as_mask=settings.as_mask,
        at_random=settings.at_random,
        words=settings.masking == "words",
        mask_id=tokenizer.mask_token_id,
        ordinary=np.array(sorted(ordinary), dtype=np.int32),
        continues=continuing_pieces(PieceVocabulary.of(tokenizer)),
    )


def _vocabulary(
    shards: Sequence[tuple[Stretch, ...]],
    source: TextSource,
    settings: PretrainSettings,
    max_pieces: int,
    folder: Path,
) -> Path:
    """The folder of a tokenizer trained on the training documents; one process trains it, once for the same text."""
    chosen = shards[:: -(-len(shards) // VOCABULARY_SHARDS)]

    def texts() -> Iterator[str]:
        for shard in chosen:
            yield from (text for text, held_out in documents(shard, source) if not held_out)

    hashes = {path: file_hash(path) for path in dict.fromkeys(part.path for shard in chosen for part in shard)}
    places = [f"{hashes[part.path]} {part.start} {part.end}" for shard in chosen for part in shard]
    made_of = [repr(source), settings.scratch.model_dump_json(), settings.access, str(max_pieces), *places]
    target = folder / f"vocabulary.{hashlib.sha256(chr(0).join(made_of).encode()).hexdigest()[:16]}"
    with locked(folder):
        if not target.exists():
            aside = folder / f".training-{target.name}"
            shutil.rmtree(aside, ignore_errors=True)
            tokenizer = BertTokenizer(
                vocab=train_vocabulary(texts, settings.scratch),
                do_lower_case=settings.scratch.case == "lower",
                model_max_length=max_pieces,
            )
            tokenizer.init_kwargs[ACCESS] = settings.access
            tokenizer.save_pretrained(aside)
            aside.rename(target)
    return target
