"""Prediction: five tagging heads on one encoder against a Hugging Face pipeline for each head, on the same sentences.

python -m benchmarks.predict mtscale MODEL TEXTS              prints the seconds of a pass over the texts, and mentions
python -m benchmarks.predict pipelines MODEL TEXTS BATCH      the same by pipelines, with batches of so many sentences
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import torch
from safetensors.torch import save_file

from benchmarks.processes import run
from benchmarks.results import Report, ratio
from mtscale.corpora import catalogue
from mtscale.corpora.example import SPLITS, TaggedExample
from mtscale.inputs.encode import MAX_WORDS
from mtscale.model.encoder import load_encoder, load_tokenizer
from mtscale.model.multitask import MultiTaskModel
from mtscale.procedure import CLEAN_PROCEDURE
from mtscale.sealed import seal
from mtscale.serving.export import export_task
from mtscale.serving.predictor import Predictor
from mtscale.serving.trained import DESCRIPTION, ENCODER, HEADS, describe, load_export
from mtscale.tasks import TASKS, Task
from mtscale.training.tables import table

HEADS_COUNT = 5
SENTENCES = 1000
ROUNDS = 7
# Tried on a part of the sentences; the fastest is used.
BATCHES = (1, 4, 8, 16, 32, 64, 128)
PART = 200
MAX_PIECES = 128


def measure(
    _data_root: Path | None,
    encoder: str = "sample",
    sentences: int = SENTENCES,
    rounds: int = ROUNDS,
    batches: Sequence[int] = BATCHES,
) -> Report:
    """Passes over the same sentences in processes of their own, mtscale and pipelines in turn."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        model, texts, part = folder / "model", folder / "texts.json", folder / "part.json"
        make_models(model, encoder)
        chosen = list(islice(sentences_of_the_sample(), sentences))
        texts.write_text(json.dumps(chosen), encoding="utf-8")
        part.write_text(json.dumps(chosen[:: max(1, len(chosen) // PART)]), encoding="utf-8")
        tried = {batch: _pass("pipelines", model, part, str(batch))[0] for batch in batches}
        best = min(tried, key=tried.__getitem__)
        ours: list[tuple[float, int]] = []
        theirs: list[tuple[float, int]] = []
        for _ in range(rounds):
            ours.append(_pass("mtscale", model, texts))
            theirs.append(_pass("pipelines", model, texts, str(best)))
    _check_same([mentions for _, mentions in (*ours, *theirs)])
    how = (
        f"seconds of {HEADS_COUNT} Hugging Face pipelines (batches of {best}, the fastest of "
        f"{', '.join(map(str, batches))}) by those of mtscale, {len(chosen)} sentences of the sample, encoder "
        f"{encoder}, float32, loading left out; {rounds} passes each, in turn, each in a process of its own"
    )
    result = ratio([taken for taken, _ in theirs], [taken for taken, _ in ours], "ratio", how)
    rows = [[str(batch), f"{seconds:.2f}"] for batch, seconds in tried.items()]
    return Report({"predict_vs_pipelines": result}, {"Pipelines by batch size (a part)": table(["batch", "s"], rows)})


def sentences_of_the_sample() -> Iterator[str]:
    """Sentences of at most 30 words, which both sides read whole."""
    splitter = load_tokenizer("sample").backend_tokenizer.pre_tokenizer
    for split in SPLITS:
        for example in catalogue.read_examples(TASKS["cdr-disease"], split, None):
            if isinstance(example, TaggedExample) and len(splitter.pre_tokenize_str(example.text)) <= MAX_WORDS:
                yield example.text


def make_models(folder: Path, encoder: str) -> None:
    """An encoder with five seeded tagging heads, as one folder for mtscale and one for each pipeline below it."""
    tasks = [replace(TASKS["cdr-disease"], name=f"head-{number}") for number in range(HEADS_COUNT)]
    make_model(folder, encoder, tasks)
    trained = load_export(folder)
    for task in tasks:
        export_task(trained, task, folder / "heads" / task.name, "")


def make_model(folder: Path, encoder: str, tasks: Sequence[Task]) -> None:
    """An encoder with seeded heads of ``tasks``, as ``mtscale export`` writes a whole model."""
    torch.manual_seed(1)
    plain, _ = load_encoder(encoder, "checkpoint", MAX_PIECES)
    model = MultiTaskModel(plain, tasks, 0.0, 1, {})
    (folder / ENCODER).mkdir(parents=True)
    plain.register_module("pooler", model.pooler)
    plain.save_pretrained(folder / ENCODER)
    load_tokenizer(encoder).save_pretrained(folder / ENCODER)
    save_file({name: tensor.contiguous() for name, tensor in model.heads.state_dict().items()}, folder / HEADS)
    (folder / DESCRIPTION).write_text(json.dumps(describe(tasks, MAX_PIECES, CLEAN_PROCEDURE)), encoding="utf-8")
    seal(folder)


def by_mtscale(model: Path, texts: Sequence[str]) -> tuple[float, int]:
    """The seconds of a pass, and the mentions that all heads found."""
    predictor = Predictor(load_export(model))
    examples = [TaggedExample(str(number), str(number), text, 0, ()) for number, text in enumerate(texts)]
    list(predictor.predict(examples[:4]))  # warm
    started = time.perf_counter()
    outcomes = list(predictor.predict(examples))
    taken = time.perf_counter() - started
    return taken, sum(len(prediction["spans"]) for outcome in outcomes for prediction in outcome.values())


def by_pipelines(model: Path, texts: Sequence[str], batch: int) -> tuple[float, int]:
    """The same by a pipeline for each head."""
    from transformers import pipeline

    taggers = [
        pipeline("token-classification", model=str(folder), aggregation_strategy="first", batch_size=batch)
        for folder in sorted((model / "heads").iterdir())
    ]
    for tagger in taggers:
        tagger(list(texts[:4]))
    started = time.perf_counter()
    found = [tagger(list(texts)) for tagger in taggers]
    taken = time.perf_counter() - started
    return taken, sum(len(mentions) for of_head in found for mentions in of_head)


def _pass(name: str, model: Path, texts: Path, *options: str) -> tuple[float, int]:
    taken, mentions = run("benchmarks.predict", name, str(model), str(texts), *options)
    return float(taken), int(mentions)


def _check_same(mentions: Sequence[int]) -> None:
    """Both sides do the same work; a rare tie may fall to either side."""
    if max(mentions) - min(mentions) > max(mentions) / 100:
        raise RuntimeError(f"mtscale and the pipelines found different numbers of mentions: {sorted(set(mentions))}")


def _worker(name: str, model: str, texts: str, *options: str) -> None:
    given: list[str] = json.loads(Path(texts).read_text(encoding="utf-8"))
    if name == "mtscale":
        print(json.dumps(by_mtscale(Path(model), given)))
    else:
        print(json.dumps(by_pipelines(Path(model), given, int(options[0]))))


if __name__ == "__main__":
    _worker(*sys.argv[1:])
