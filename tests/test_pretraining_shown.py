"""What is shown of a pretraining run, which has no tasks and no scores."""

from __future__ import annotations

from pathlib import Path

import pytest
from mtscale_tui.topics import run_topics

from mtscale import cli, names
from mtscale.errors import EXIT_FINISHED
from mtscale.event_log import EventLog
from mtscale.run_summary import summarize
from mtscale.runs import RunDirectory
from tests.lab import make_run


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    made = make_run(tmp_path)
    made.update_record(stage="pretrain", tasks=())
    for step, perplexity in enumerate((900.0, 90.0, 95.0)):
        values = {names.HELDOUT_PERPLEXITY: perplexity, names.UNIGRAM_PERPLEXITY: 400.0}
        made.append_event("heldout", step, step, values)
    made.append_event("best", 1, 1, {names.BEST_PERPLEXITY: 90.0, names.BEST_STEP: 1})
    return made


def test_its_perplexities_are_shown_in_place_of_scores(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["runs", "show", run.path.name, "--runs", str(run.path.parent)]) == EXIT_FINISHED
    *_, head, _, row = capsys.readouterr().out.strip().splitlines()
    assert head.split() == ["text", "metric", "at", "start", "last", "kept", "unigram"]
    assert row.split() == ["held-out", "perplexity", "900.0000", "95.0000", "90.0000", "400.0000"]
    assert cli.main(["runs", "list", "--runs", str(run.path.parent)]) == EXIT_FINISHED
    assert capsys.readouterr().out.strip().splitlines()[-1].split()[-2:] == ["-", "-"]


def test_the_app_charts_them_first(run: RunDirectory) -> None:
    log = EventLog(run.path)
    while log.read():
        pass
    (topic,) = run_topics(summarize(run), log.series)
    assert topic.title == "held-out perplexity"
    assert list(topic.curves[0].series.values) == [900.0, 90.0, 95.0]
