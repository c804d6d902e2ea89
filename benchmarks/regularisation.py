"""What other regularisation would save: mtscale without attention dropout, and without any, against mtscale as it is.

These are not the speed of the same training: a model regularised in another way learns otherwise.
"""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

from benchmarks import workload
from benchmarks.processes import Step, Worker
from benchmarks.results import Report, ratio
from benchmarks.workload import DROPOUT, per_task
from mtscale.model.encoder import load_encoder, load_tokenizer
from mtscale.training.tables import table

BLOCKS = 4
STEPS = 6
WARM_UP = 2
# Hidden and attention dropout.
VARIANTS = {"as trained": (DROPOUT, DROPOUT), "no attention dropout": (DROPOUT, 0.0), "no dropout": (0.0, 0.0)}
RESULTS = {"no attention dropout": "speed_without_attention_dropout", "no dropout": "speed_without_dropout"}


def measure(data_root: Path | None, blocks: int = BLOCKS, steps: int = STEPS) -> Report:
    """Alternating blocks of the same steps with each variant."""
    place = "" if data_root is None else str(data_root)
    done: dict[str, list[list[Step]]] = {name: [] for name in VARIANTS}
    with contextlib.ExitStack() as stack:
        workers = {}
        for name, dropouts in VARIANTS.items():
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            save_encoder(folder, *dropouts)
            workers[name] = stack.enter_context(Worker("benchmarks.workload", str(folder), place, "checkpoint"))
        for worker in workers.values():
            worker.steps(WARM_UP)
        for _ in range(blocks):
            for name, worker in workers.items():
                done[name].append(worker.steps(steps))
    seconds = {name: [sum(step.seconds for step in block) for block in found] for name, found in done.items()}
    how = f"the encoder's dropout as trained is {DROPOUT}; {blocks} alternating blocks of {steps} steps"
    results = {
        result: ratio(seconds["as trained"], seconds[name], "x", f"seconds as trained / with {name}; {how}")
        for name, result in RESULTS.items()
    }
    rates = {name: per_task([step for block in found for step in block])["all"] for name, found in done.items()}
    rows = [[name, "", f"{rate:.1f}"] for name, rate in rates.items()]
    return Report(results, {f"Other regularisation: {how}": table(["encoder", "", "examples/s"], rows)})


def save_encoder(folder: Path, hidden: float, attention: float) -> None:
    """The sample encoder with these dropouts in its configuration."""
    encoder, _ = load_encoder("sample", "checkpoint", workload.MAX_PIECES)
    encoder.config.hidden_dropout_prob = hidden
    encoder.config.attention_probs_dropout_prob = attention
    encoder.save_pretrained(folder)
    load_tokenizer("sample").save_pretrained(folder)
