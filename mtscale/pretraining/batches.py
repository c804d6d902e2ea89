"""Rows of text in the order in which they are trained on, masked, as tensors."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from mtscale.inputs.batches import Batch
from mtscale.inputs.encode import PieceVocabulary
from mtscale.inputs.schedule import Schedule
from mtscale.model.packing import Layout
from mtscale.pretraining.masking import Masking, Pieces, Positions
from mtscale.pretraining.shards import TextCorpus


@dataclass(frozen=True)
class TextRow:
    """A row and its number in the corpus, on which its masks depend."""

    number: int
    pieces: Pieces


@dataclass(frozen=True)
class MaskedRow:
    """What is seen of a row, the positions to be predicted, and the pieces that stood there."""

    seen: Pieces
    chosen: Positions
    hidden: Pieces


@dataclass(frozen=True)
class TextSchedule:
    """The global mini-batches of every epoch: shards in a new order, the rows of each in a new order.

    Rows of similar length come together, as for tasks (``inputs.schedule``). A mini-batch is of one shard.
    """

    corpus: TextCorpus
    batch_size: int
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        """The mini-batches of an epoch, the last short one of each shard included."""
        return sum(map(self._steps, range(len(self.corpus.counts))))

    def epoch(self, epoch: int, skip: int = 0) -> Iterator[list[TextRow]]:
        """The mini-batches of an epoch (from 1) from number ``skip`` on; shards passed over are not read."""
        random = np.random.default_rng([self.seed, epoch, zlib.crc32(b"<order of shards>")])
        firsts = np.cumsum([0, *(counts.rows for counts in self.corpus.counts)]).tolist()
        for shard in random.permutation(len(self.corpus.counts)).tolist():
            steps = self._steps(shard)
            if skip >= steps:
                skip -= steps
                continue
            rows = self.corpus.rows(shard, "train")
            batches = Schedule({f"shard {shard}": rows.lengths}, self.batch_size, self.seed).epoch(epoch)
            for index in range(skip, steps):
                yield [TextRow(firsts[shard] + row, rows[row]) for row in batches[index].rows.tolist()]
            skip = 0

    def _steps(self, shard: int) -> int:
        return -(-self.corpus.counts[shard].rows // self.batch_size)


def heldout_batches(corpus: TextCorpus, batch_size: int) -> Iterator[list[TextRow]]:
    """The held-out rows in the order of the corpus."""
    number = 0
    for shard in range(len(corpus.counts)):
        rows = corpus.rows(shard, "heldout")
        for start in range(0, len(rows), batch_size):
            end = min(start + batch_size, len(rows))
            yield [TextRow(number + row, rows[row]) for row in range(start, end)]
        number += len(rows)


def mask_rows(rows: Sequence[TextRow], masking: Masking, seed: int, epoch: int) -> list[MaskedRow]:
    """The rows with the masks of an epoch."""
    masked = []
    for row in rows:
        seen, chosen = masking.draw(row.pieces, seed, epoch, row.number)
        masked.append(MaskedRow(seen, chosen, row.pieces[chosen]))
    return masked


def collate(rows: Sequence[MaskedRow], vocabulary: PieceVocabulary) -> Batch:
    """The rows as one batch that reads the masked pieces; one without any is without labels, and adds nothing."""
    lengths = np.array([len(row.seen) + 2 for row in rows])
    starts = np.concatenate(([0], np.cumsum(lengths)[:-1]))
    ends = ([vocabulary.cls_id], [vocabulary.sep_id])
    ids = np.concatenate([part for row in rows for part in (ends[0], row.seen, ends[1])])
    read = np.concatenate([row.chosen + 1 + start for row, start in zip(rows, starts, strict=True)])
    batch = Batch(
        input_ids=torch.from_numpy(ids.astype(np.int64)),
        token_type_ids=torch.zeros(len(ids), dtype=torch.int64),
        layout=Layout.of(lengths),
        read=torch.from_numpy(read.astype(np.int64)),
        labels=torch.from_numpy(np.concatenate([row.hidden for row in rows]).astype(np.int64)),
    )
    if len(read):
        return batch
    return Batch(batch.input_ids, batch.token_type_ids, batch.layout, torch.zeros(1, dtype=torch.int64), None)
