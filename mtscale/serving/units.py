"""What is predicted on, one after the other: a document, a sentence of given words, or a row of a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mtscale.corpora.annotated import Document
from mtscale.corpora.example import Example


@dataclass(frozen=True, slots=True)
class Unit:
    """A document or a ready example. ``source`` is what its format's writer needs, ``size`` counts bytes."""

    id: str
    content: Document | Example
    source: Any
    size: int


@dataclass(frozen=True, slots=True)
class Failure:
    """A part of an input that cannot be read: its id (or place, where it has none that can be told), and why."""

    id: str
    message: str
    size: int


Item = Unit | Failure
