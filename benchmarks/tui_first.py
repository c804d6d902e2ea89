"""The start of the terminal app in a process of its own: prints when its first frame was drawn, and its first rows.

    python -m benchmarks.tui_first RUNS     [moment of the first frame, moment of the first rows]

Loads nothing that the app does not: imports are part of what is measured.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

from mtscale_tui.app import RunsApp
from mtscale_tui.runs_screen import RunsTable

SIZE = (120, 40)


class TimedApp(RunsApp):
    """Notes the moment at which its first screen was drawn: title, what stands in place of the table, keys."""

    first_frame = 0.0

    def first_frame_shown(self) -> None:
        """See ``RunsApp``."""
        self.first_frame = time.time()
        super().first_frame_shown()


async def start(root: Path) -> tuple[float, float]:
    """Both moments, in seconds since the epoch."""
    app = TimedApp(root)
    async with app.run_test(size=SIZE) as pilot:
        while not app.first_frame or not app.screen.query_one(RunsTable).row_count:
            await pilot.pause(0.002)
        return app.first_frame, time.time()


if __name__ == "__main__":
    print(json.dumps(asyncio.run(start(Path(sys.argv[1])))))
