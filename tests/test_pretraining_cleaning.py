"""BlueBERT's cleaning against what its authors' procedure gives for it, written down by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtscale.pretraining.cleaning import clean, treebank_tokens


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # The example of NLTK's own documentation of the tokenizer, in lower case.
        (
            "Good muffins cost $3.88\nin New York.  Please buy me\ntwo of them.\nThanks.",
            "good muffins cost $ 3.88 in new york. please buy me two of them. thanks .",
        ),
        ("They'll save and invest more.", "they 'll save and invest more ."),
        ("hi, my name can't hello,", "hi , my name ca n't hello ,"),
        ("Crohn's disease (CD)", "crohn's disease ( cd )"),
        ("5,000 mg; 1:10 at 37 \u00b0C", "5,000 mg ; 1:10 at 37 c"),
        ('the so-called "serotonin syndrome" [1]', "the so-called `` serotonin syndrome '' [ 1 ]"),
        ("patients' doses -- cannot be raised?", "patients ' doses -- can not be raised ?"),
        ("P<0.05 & p%", "p < 0.05 & p %"),
        ("na\u00efve\r\n\r\nT cells...", "na ve t cells ..."),
    ],
)
def test_text_is_cleaned_as_bluebert_was(text: str, expected: str) -> None:
    assert clean(text, "bluebert") == expected
    assert clean(text, "none") == text


@given(st.text(max_size=60))
def test_cleaned_text_is_ascii_in_lower_case_without_line_breaks(text: str) -> None:
    cleaned = clean(text, "bluebert")
    assert cleaned.isascii()
    assert cleaned == cleaned.lower()
    assert not set(cleaned) & set("\r\n")


@given(st.text(alphabet="ab'\"., ()s", max_size=40))
def test_tokens_keep_every_character_but_quotation_marks(text: str) -> None:
    kept = "".join(treebank_tokens(text)).translate(str.maketrans("", "", "'\"`"))
    assert kept == text.translate(str.maketrans("", "", " '\"`"))
