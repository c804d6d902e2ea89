"""Texts and names from outside, as they may be shown on a terminal."""

from __future__ import annotations


def visible(text: str) -> str:
    """A text on one line, with nothing in it that a terminal would act on."""
    return "".join(character if character.isprintable() else " " for character in text)
