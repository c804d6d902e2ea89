from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtscale.corpora.sentences import ABBREVIATIONS, BEFORE_NUMBER, split_sentences


def cut(text: str, *boundaries: int) -> list[str]:
    return [text[start:end] for start, end in split_sentences(text, boundaries)]


@pytest.mark.parametrize(
    "text",
    [
        "It rose. | It fell.",
        "Did it rise? | It fell! | 20 rats died. | (None recovered.) | [3H]-naloxone bound.",
        'He said "stop." | Then it was (again) "over." | Élan returned.',
        "It rose (P < 0.05). | It fell by 0.5 mg.",
        "Unclear ... | The end?!",
        "given at 5 mg/kg. | However, it fell.  \t| \tIt rose.",
        "Was the answer no? | It was no. | They agreed.",
        "in 2004. | 15 rats",
    ],
)
def test_sentence_ends(text: str) -> None:
    parts = [part.strip() for part in text.split("|")]
    assert cut(text.replace("|", "")) == parts


@pytest.mark.parametrize(
    "text",
    [
        *(f"so {word}. Then 5" for word in sorted(ABBREVIATIONS)),
        *(f"so ({word.capitalize()}. 5) was" for word in sorted(BEFORE_NUMBER)),
        "by J. Smith and J.R. Jones of the U.S. Army",
        "(P=0. 048) and <0. 05 or 0. 05",
        "the p. value, pH 7.4, e.g.Foo and i.v. route. but",
        "alpha.Beta",
    ],
)
def test_no_sentence_end(text: str) -> None:
    assert cut(text) == [text]


def test_offsets_are_those_of_the_whole_text() -> None:
    assert split_sentences("  One.  Two.\n", ()) == [(2, 6), (8, 12)]
    assert split_sentences("") == split_sentences(" \n") == []


def test_a_boundary_always_ends_a_sentence() -> None:
    assert cut("effect of clonidine in rats", 19) == ["effect of clonidine", "in rats"]
    assert cut("see Fig. In rats", 8) == ["see Fig.", "In rats"]
    assert cut("One.", 0, 4) == ["One."]


PIECE = st.sampled_from(
    ["Fig.", "al.", "0.", "5", "A.", "word", "Word", ".", "?", "!)", '."', "(", "é", "Ü.", "...", "No."]
)
BLANK = st.sampled_from(["", " ", "  ", "\n", "\t", "\u00a0", "\u2003", "\x1c"])
TEXT = st.lists(st.tuples(PIECE, BLANK), max_size=30).map(lambda parts: "".join(a + b for a, b in parts)) | st.text()


@settings(deadline=None, max_examples=300)
@given(data=st.data(), text=TEXT)
def test_sentences_cover_the_text_in_order(data: st.DataObject, text: str) -> None:
    boundaries = data.draw(st.lists(st.integers(0, len(text)), max_size=3))
    sentences = split_sentences(text, boundaries)
    flat = [offset for sentence in sentences for offset in sentence]
    assert flat == sorted(flat)
    for start, end in sentences:
        assert text[start:end]
        assert text[start:end] == text[start:end].strip()
        assert not any(start < boundary < end for boundary in boundaries)
    covered = {offset for start, end in sentences for offset in range(start, end)}
    assert all(text[offset].isspace() for offset in set(range(len(text))) - covered)
