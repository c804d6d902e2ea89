"""A run directory with a kept epoch, made without training: a small encoder, and heads drawn from one seed."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mtscale import recipe
from mtscale.corpora.catalogue import SAMPLE_FOLDER
from mtscale.runs import RunDirectory, RunRecord
from mtscale.sealed import seal
from mtscale.tasks import Access, Kind, Task

if TYPE_CHECKING:
    from torch import Tensor

MAX_PIECES = 96


def make_trained_run(
    runs: Path, encoder: Path, name: str = "trained", own: str = "", protocol: str = "clean"
) -> RunDirectory:
    """A run of the sample's tasks; ``own`` is TOML of further ones. Every class of every head is met on real text."""
    from safetensors.torch import save_file

    runs.mkdir(exist_ok=True)
    given = runs / f"{name}.toml"
    given.write_text(recipe.find("sample").read_text(encoding="utf-8") + own, encoding="utf-8")
    settings = [f'encoder.name="{encoder}"', f"encoder.max_pieces={MAX_PIECES}", f'protocol="{protocol}"']
    loaded = recipe.load(given, settings)
    tasks = [table.resolve(None, runs) for table in loaded.tasks]
    record = RunRecord(
        name=name,
        family=name,
        group="g",
        recipe="sample",
        stage="refine",
        seed=1,
        protocol=protocol,
        tasks=tuple(task.name for task in tasks),
        ds_config="cpu",
        world_size=1,
        command=("mtscale", "--recipe", str(given)),
        versions={},
        data_hashes={"cdr-disease": "0123"},
        recipe_hash=loaded.hash(),
        access="dua" if any(task.access is Access.DUA for task in tasks) else "open",
    )
    run = RunDirectory.create(runs / name, record, loaded.to_toml(), "{}\n")
    best = run.path / "checkpoints" / "best"
    shutil.copytree(encoder, best / "encoder")
    _stir(best / "encoder")
    piece_classes = loaded.procedure.tag_classes == "pieces"
    save_file(_heads(best / "encoder", tasks, piece_classes=piece_classes), best / "heads.safetensors")
    seal(best)
    return run


def _stir(encoder: Path) -> None:
    """Larger weights in attention: what [CLS] becomes then depends on the text."""
    from safetensors.torch import load_file, save_file

    path = encoder / "model.safetensors"
    weights = load_file(path)
    for name, tensor in weights.items():
        if "attention" in name and name.endswith("weight") and tensor.dim() == 2:
            tensor *= 12
    save_file(weights, path, metadata={"format": "pt"})


def _heads(encoder: Path, tasks: Sequence[Task], *, piece_classes: bool) -> dict[str, Tensor]:
    """Heads whose outputs have mean 0 and deviation 2 on real text; taggers prefer O."""
    import torch
    from transformers import AutoTokenizer

    from mtscale.model.encoder import load_encoder
    from mtscale.model.heads import num_outputs
    from mtscale.model.multitask import head_name

    generator = torch.Generator().manual_seed(5)
    model, _ = load_encoder(str(encoder), "checkpoint", MAX_PIECES)
    rows = (SAMPLE_FOLDER / "evidence-inference" / "dev.tsv").read_text(encoding="utf-8").splitlines()[1:40]
    pairs = [row.split("\t")[1:3] for row in rows]
    tokenizer = AutoTokenizer.from_pretrained(encoder)

    def read(texts: object) -> tuple[Tensor, Tensor]:
        inputs = tokenizer(texts, padding=True, truncation=True, max_length=90)
        with torch.no_grad():
            found = model.eval()(**{name: torch.tensor(values) for name, values in inputs.items()})
        real = torch.tensor(inputs["attention_mask"]).bool()
        return found.last_hidden_state[real], found.pooler_output

    pieces, alone = read([first for first, _ in pairs])
    _, paired = read(pairs)
    read_by = {Kind.TAGGING: pieces, Kind.RELATION: alone, Kind.SIMILARITY: paired, Kind.INFERENCE: paired}
    heads = {}
    for task in tasks:
        tags = task.kind is Kind.TAGGING
        weight = torch.randn(num_outputs(task, piece_classes=piece_classes), 32, generator=generator)
        outputs = read_by[task.kind] @ weight.T
        weight *= 2 / outputs.std(dim=0)[:, None]
        bias = -outputs.mean(dim=0) * 2 / outputs.std(dim=0)
        if tags:
            bias[0] += 5
        heads |= {f"{head_name(task.name)}.output.weight": weight, f"{head_name(task.name)}.output.bias": bias}
    return heads
