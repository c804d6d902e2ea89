"""The cleaning of text that BlueBERT's authors did before they pretrained (README of ncbi-nlp/bluebert).

Lower case, line breaks and what is not ASCII to blanks, Penn Treebank tokens joined by blanks, ``'s`` put back to its
word. Their tokenizer was NLTK's ``TreebankWordTokenizer``; the rules here are those of the Penn Treebank's own script
(Robert MacIntyre, tokenizer.sed, 1995) with the differences of NLTK's: ``,`` and ``:`` are left inside numbers, and
contractions are told by a following blank. A final period is split at the end of the text alone, as in both.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from mtscale.recipe_sections import Cleaning

_Rules = Sequence[tuple[re.Pattern[str], str]]


def _rules(*pairs: tuple[str, str]) -> _Rules:
    return [(re.compile(pattern), replacement) for pattern, replacement in pairs]


_TREEBANK = _rules(
    # quotation marks that open
    (r'^"', "``"),
    (r"(``)", r" \1 "),
    (r"([ (\[{<])(?:\"|'')", r"\1 `` "),
    # punctuation
    (r"([:,])(\D)", r" \1 \2"),
    (r"([:,])$", r" \1 "),
    (r"\.\.\.", " ... "),
    (r"[;@#$%&?!]", r" \g<0> "),
    (r"([^.])(\.)([\])}>\"']*)\s*$", r"\1 \2\3 "),
    (r"([^'])' ", r"\1 ' "),
    # brackets and dashes
    (r"[\]\[(){}<>]", r" \g<0> "),
    (r"--", " -- "),
    # the ends of the text, so that the rules below need not look for them
    (r"^|$", " "),
    # quotation marks that close
    (r"''|\"", " '' "),
    # contractions
    (r"([^' ])('[smd]|') ", r"\1 \2 "),
    (r"([^' ])('ll|'re|'ve|n't) ", r"\1 \2 "),
    (r"\b(can)(not)\b", r" \1 \2 "),
    (r"\b(d)('ye)\b", r" \1 \2 "),
    (r"\b(gim|lem)(me)\b", r" \1 \2 "),
    (r"\b(gon|wan)(na)\b", r" \1 \2 "),
    (r"\b(got)(ta)\b", r" \1 \2 "),
    (r"\b(more)('n)\b", r" \1 \2 "),
    (r" ('t)(is|was)\b", r" \1 \2 "),
)
_BREAKS = re.compile(r"[\r\n]+")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")
_POSSESSIVE = re.compile(r"\s's\b")


def clean(text: str, cleaning: Cleaning) -> str:
    """A document as it is cut into word pieces: unchanged (``none``), or as BlueBERT's authors cleaned it."""
    if cleaning == "none":
        return text
    text = _NOT_ASCII.sub(" ", _BREAKS.sub(" ", text.lower()))
    return _POSSESSIVE.sub("'s", " ".join(treebank_tokens(text)))


def treebank_tokens(text: str) -> list[str]:
    """The Penn Treebank tokens of a text in lower case."""
    for pattern, replacement in _TREEBANK:
        text = pattern.sub(replacement, text)
    return text.split()
