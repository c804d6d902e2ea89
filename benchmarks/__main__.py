"""Print the benchmark tables and write ``benchmarks/results.json``.

Most results are a ratio of two things measured in this run on this machine, interleaved, with the interval of its
pairs: times alone say more about the machine than about the program.
"""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks import bare_loop, reading
from mtscale.corpora.catalogue import data_folder

RESULTS = Path(__file__).parent / "results.json"


def main() -> None:
    """Run every benchmark; those that need the public corpora where MTSCALE_DATA has them."""
    results = bare_loop.measure() | reading.measure(data_folder(None, None))
    for name, result in results.items():
        print(f"{name}: {result['value']:.3f} ({result['low']:.3f} to {result['high']:.3f}) {result['unit']}")
        print(f"    {result['how']}")
    RESULTS.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(f"written to {RESULTS}")


if __name__ == "__main__":
    main()
