"""Predictions by transformers alone, where mtscale cannot be imported: FOLDER INPUTS.json ... -> JSON on stdout."""

import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any


def main(*places: str) -> None:
    assert find_spec("mtscale") is None
    found = [predict(folder, inputs) for folder, inputs in zip(places[::2], places[1::2], strict=True)]
    print(json.dumps(found))


def predict(folder: str, inputs: str) -> list[Any]:
    from transformers import pipeline

    texts: list[Any] = json.loads(Path(inputs).read_text(encoding="utf-8"))
    config = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
    if config["architectures"][0].endswith("ForTokenClassification"):
        # Beside O some models have classes of pieces, which are no part of a mention.
        others = [label for label in config["label2id"] if not label.startswith(("B-", "I-"))]
        tagger = pipeline("token-classification", model=folder, aggregation_strategy="first", ignore_labels=others)
        return [
            [[one["start"], one["end"], one["entity_group"], float(one["score"])] for one in tagger(text)]
            for text in texts
        ]
    classifier = pipeline("text-classification", model=folder, top_k=None)
    return [{one["label"]: one["score"] for one in classifier(text)} for text in texts]


if __name__ == "__main__":
    main(*sys.argv[1:])
