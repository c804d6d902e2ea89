"""How much of the machine's matmul peak is spent on real word pieces, for the sample encoder and BERT-base's shape.

python -m benchmarks.peaks fp32|bf16     prints the operations a second of a large product in that precision
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import torch

from benchmarks import workload
from benchmarks.processes import Worker, run
from benchmarks.results import Report, Result, interval, once
from mtscale.training.machine import probe
from mtscale.training.tables import table

BLOCKS = 6
# Until the memory of long mini-batches is there: that of a virtual machine is slow when it is first touched.
WARM_UP = 12
SHAPE = (4096, 768, 3072)
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
_SECONDS = 1.0


def measure(data_root: Path | None, blocks: int = BLOCKS) -> Report:
    """The peaks, and the training of two encoders against the peak of the precision they train in."""
    machine = probe()
    precision = "bf16" if machine.cpu_bf16 or machine.accelerator == "cuda" else "fp32"
    peaks = {name: run("benchmarks.peaks", name) for name in _DTYPES}
    what = f"matmul of {SHAPE[0]} x {SHAPE[1]} x {SHAPE[2]}, the best of a second"
    results = {f"matmul_peak_{name}": once(peak / 1e9, "GFLOP/s", what) for name, peak in peaks.items()}
    with tempfile.TemporaryDirectory() as folder:
        workload.make_bert_base(Path(folder))
        results["fraction_of_matmul_peak"] = _fraction(
            data_root, folder, "BERT-base's shape with random weights", precision, blocks, steps=4
        )
    results["fraction_of_matmul_peak_sample_encoder"] = _fraction(
        data_root, "sample", "22 M sample encoder", precision, blocks, steps=8
    )
    rows = [[name, "", f"{result['value']:.3f}", result["unit"]] for name, result in results.items()]
    return Report(results, {"Matmul peaks and what training uses of them": table(["what", "", "value", "unit"], rows)})


def _fraction(data_root: Path | None, encoder: str, called: str, precision: str, blocks: int, *, steps: int) -> Result:
    """Useful operations a second over the peak measured right after each block."""
    weights = workload.weights(encoder)
    fractions, useful = [], []
    with Worker("benchmarks.workload", encoder, *([] if data_root is None else [str(data_root)])) as worker:
        worker.steps(WARM_UP)
        for _ in range(blocks):
            useful.append(workload.useful_flops(worker.steps(steps), weights))
            fractions.append(useful[-1] / run("benchmarks.peaks", precision))
    how = (
        f"of the {precision} matmul peak"
        + ("" if precision == "bf16" else " (this processor has no bf16)")
        + f"; {called}, real pieces only, {sum(useful) / len(useful) / 1e9:.1f} GFLOP/s, {blocks} blocks of {steps}"
    )
    return interval(fractions, "of peak", how)


def matmul_peak(precision: str) -> float:
    """Operations a second of a large matrix product, the best of a second's."""
    rows, inner, columns = SHAPE
    device = "cuda" if torch.cuda.is_available() else "cpu"
    first = torch.randn(rows, inner, device=device).to(_DTYPES[precision])
    second = torch.randn(inner, columns, device=device).to(_DTYPES[precision])
    best, began = 0.0, time.perf_counter()
    while best == 0.0 or time.perf_counter() - began < _SECONDS:
        started = time.perf_counter()
        first @ second
        if device == "cuda":
            torch.cuda.synchronize()
        best = max(best, 2 * rows * inner * columns / (time.perf_counter() - started))
    return best


if __name__ == "__main__":
    print(json.dumps(matmul_peak(sys.argv[1])))
