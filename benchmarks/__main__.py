"""Print the benchmark tables and write ``benchmarks/results.json``: ``python -m benchmarks [NAME ...]``.

Most results are a ratio of two things measured in this run on this machine, interleaved, with the interval of their
repetitions: times alone say more about the machine than about the program. A run of some benchmarks only prints.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks import (
    bare_loop,
    dev_scores,
    heads,
    peaks,
    predict,
    ranks,
    reading,
    regularisation,
    rows,
    start_up,
    stock_trainer,
    tui,
)
from benchmarks.results import Report, Result
from mtscale.corpora.catalogue import data_folder
from mtscale.training.tables import table

RESULTS = Path(__file__).parent / "results.json"
MEASURES: Mapping[str, Callable[[Path | None], Report]] = {
    "peaks": peaks.measure,
    "stock_trainer": stock_trainer.measure,
    "dev_scores": dev_scores.measure,
    "bare_loop": bare_loop.measure,
    "regularisation": regularisation.measure,
    "heads": heads.measure,
    "rows": rows.measure,
    "ranks": ranks.measure,
    "start_up": start_up.measure,
    "reading": reading.measure,
    "predict": predict.measure,
    "tui": tui.measure,
}


def main(names: Sequence[str]) -> None:
    """Run the named benchmarks, or all; on the public corpora where MTSCALE_DATA has them, else on the sample."""
    unknown = set(names) - set(MEASURES)
    if unknown:
        raise SystemExit(f"no benchmark {', '.join(sorted(unknown))}: there are {', '.join(MEASURES)}")
    data_root = data_folder(None, None)
    results: dict[str, Result] = {}
    for name in names or MEASURES:
        began = time.perf_counter()
        report = MEASURES[name](data_root)
        show(name, report, time.perf_counter() - began)
        results |= report.results
        if not names:
            RESULTS.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def show(name: str, report: Report, seconds: float) -> None:
    """Print a benchmark's tables and results."""
    print(f"\n== {name}, measured in {seconds:.0f} s")
    for title, text in report.tables.items():
        print(f"\n{title}\n{text}")
    lines = [
        [name, result["unit"], f"{result['value']:.3f}", f"{result['low']:.3f}", f"{result['high']:.3f}"]
        for name, result in report.results.items()
    ]
    print("\n" + table(["result", "unit", "value", "low", "high"], lines))
    for name, result in report.results.items():
        print(f"{name}: {result['how']}")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
