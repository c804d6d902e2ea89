"""Ids that occur more than once, found without holding all of them: memory must not grow with the corpus."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing


def repeated(ids: Iterable[str]) -> frozenset[int]:
    """The hashes (Python's own ``hash``, so of this process alone) of the ids that occur more than once.

    An id that occurs once may share its hash with one that does not: whoever asks compares the ids themselves. The
    hashes of all ids are sorted on disk, in a temporary database of SQLite that has no name and holds no text.
    """
    with closing(sqlite3.connect("")) as store:
        store.execute("PRAGMA journal_mode = OFF")
        store.execute("CREATE TABLE ids (hash INTEGER)")
        store.executemany("INSERT INTO ids VALUES (?)", ((hash(id_),) for id_ in ids))
        found = store.execute("SELECT hash FROM ids GROUP BY hash HAVING count(*) > 1")
        return frozenset(number for (number,) in found)
