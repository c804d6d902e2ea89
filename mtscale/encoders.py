"""Encoders by one word: those the paper starts from (section 4.2), as ``[encoder] name`` in a recipe.

The paper names BioBERT, BlueBERT and ClinicalBERT without versions. BlueBERT is its authors' own base model, once
pretrained on PubMed alone (``biomedical`` in its tables) and once on PubMed and MIMIC-III (``clinical``); both are
lower-cased. BioBERT is version 1.1, the one of Lee et al. 2020, taken from the place on the hub whose tokenizer
keeps capitals (that of ``biobert-base-cased-v1.1`` lowers them). ClinicalBERT is the one of Alsentzer et al. 2019 that
was started from BioBERT and trained on all notes.

An alias wins over a folder of its name, as ``sample`` does; ``./biobert`` is the folder.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

ALIASES: Mapping[str, str] = {
    "biobert": "dmis-lab/biobert-v1.1",
    "clinicalbert": "emilyalsentzer/Bio_ClinicalBERT",
    "bluebert-pubmed": "bionlp/bluebert_pubmed_uncased_L-12_H-768_A-12",
    "bluebert-mimic": "bionlp/bluebert_pubmed_mimic_uncased_L-12_H-768_A-12",
}

# In config.json of an encoder and tokenizer_config.json of a vocabulary: "dua" where they were made from text that lies
# under a use agreement. transformers keeps keys that it does not know, so the mark survives loading and saving.
ACCESS = "mtscale_access"


def is_marked(name: str) -> bool:
    """Whether an encoder is a folder that bears the mark of text under a use agreement."""
    try:
        config = json.loads((Path(name).expanduser() / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and config.get(ACCESS) == "dua"
