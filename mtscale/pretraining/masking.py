"""Which pieces of a row are to be predicted, and what is seen in their place (Devlin et al. 2019, section 3.1).

As in BERT's own code (create_pretraining_data.py): of a row's n pieces ``round(rate x n)``, at least one, are chosen;
of these 80 % are replaced by [MASK], 10 % by another piece at random, 10 % stay. [CLS] and [SEP] are no part of n and
never chosen. Whole words are chosen in random order as long as they fit into that number.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pieces = NDArray[np.int32]
Positions = NDArray[np.int64]

# The number in the place of seed and epoch from which the masks of the held-out text are drawn: epochs count from 1.
HELDOUT = (0, 0)


@dataclass(frozen=True)
class Masking:
    """How rows are masked.

    ``ordinary``: the pieces that may replace another at random, special ones left out. ``continues``: by piece, whether
    it goes on with a word. ``words``: choose whole words.
    """

    rate: float
    as_mask: float
    at_random: float
    words: bool
    mask_id: int
    ordinary: Pieces
    continues: NDArray[np.bool_]

    def draw(self, pieces: Pieces, seed: int, epoch: int, row: int) -> tuple[Pieces, Positions]:
        """What is seen of a row's n pieces, and the positions to be predicted in their order.

        The draw depends on seed, epoch and the row's number alone, not on the mini-batch or the rank it is in.
        """
        random = np.random.default_rng([seed, epoch, row])
        wanted = max(1, round(self.rate * len(pieces)))
        chosen = self._words(pieces, wanted, random) if self.words else random.permutation(len(pieces))[:wanted]
        chosen = np.sort(chosen).astype(np.int64)
        kinds = random.random(len(chosen))
        others = self.ordinary[random.integers(len(self.ordinary), size=len(chosen))]
        seen = pieces.copy()
        instead = np.where(kinds < self.as_mask + self.at_random, others, pieces[chosen])
        seen[chosen] = np.where(kinds < self.as_mask, self.mask_id, instead)
        return seen, chosen

    def _words(self, pieces: Pieces, wanted: int, random: np.random.Generator) -> Positions:
        """The positions of whole words, ``wanted`` at most; none if no word is short enough."""
        begins = ~self.continues[pieces]
        begins[0] = True
        starts = np.flatnonzero(begins)
        ends = np.append(starts[1:], len(pieces))
        chosen: list[int] = []
        for word in random.permutation(len(starts)):
            if len(chosen) + ends[word] - starts[word] <= wanted:
                chosen.extend(range(starts[word], ends[word]))
            if len(chosen) == wanted:
                break
        return np.array(chosen, dtype=np.int64)
