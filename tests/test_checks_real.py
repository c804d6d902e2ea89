"""What is known of the DDI corpus' splits, counted independently on its XML: needs the original files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mtscale.checks.check import Check
from mtscale.checks.findings import Finding
from mtscale.inputs.encode import PieceVocabulary
from mtscale.tasks import TASKS

CORPORA = os.environ.get("MTSCALE_TEST_CORPORA")


@pytest.mark.skipif(CORPORA is None, reason="MTSCALE_TEST_CORPORA names no folder of the original corpora")
def test_what_ddi_test_repeats_of_train(tiny_vocabulary: PieceVocabulary) -> None:
    assert CORPORA is not None
    checked = Check("ddi", (TASKS["ddi2013"],), Path(CORPORA), "tiny", 128, tiny_vocabulary).run()

    def repeated(unit: str) -> Finding:
        (finding,) = [
            finding
            for finding in checked.findings
            if (finding.check, finding.split) == ("duplicates", "test")
            and finding.what.startswith(unit)
            and "that repeat one of ddi2013 train;" in finding.what
        ]
        return finding

    documents, sentences = repeated("documents"), repeated("sentences")
    assert documents.ids == ("DDI-DrugBank.d601 = DDI-DrugBank.d457", "DDI-DrugBank.d747 = DDI-DrugBank.d261")
    assert (sentences.count, len(sentences.ids)) == (19, 19)
    assert "(18 different)" in sentences.what
    assert "they carry 74 pairs of mentions, 30 with a relation" in sentences.what
    assert checked.exit_code == 0
