"""What is lost on the way to the model: pieces and mentions cut, words that no tag fits, gold without an example."""

from __future__ import annotations

from collections.abc import Iterator

from mtscale.checks.facts import SplitFacts
from mtscale.checks.findings import Finding, Severity
from mtscale.tasks import Kind

# From this part of a split's examples on truncation is a warning and not a note.
TRUNCATED = 0.01


def check_losses(facts: SplitFacts, max_pieces: int) -> Iterator[Finding]:
    """The losses of a split under the encoder that its rows were made for."""
    task, split, counts = facts.task, facts.split, facts.counts

    def found(severity: Severity, check: str, count: int, what: str, ids: tuple[str, ...] = ()) -> Iterator[Finding]:
        if count:
            yield Finding(severity, check, task.name, split, count, what, ids)

    if not counts.examples:
        yield Finding(Severity.ERROR, "examples", task.name, split, 0, "examples: the split gives none")
    share = counts.truncated_examples / max(1, counts.examples)
    severity = Severity.WARNING if share >= TRUNCATED else Severity.NOTE
    unit = "sentences with a word" if task.kind is Kind.TAGGING else "examples"
    what = (
        f"{unit} longer than max_pieces = {max_pieces}, {share:.1%}; "
        f"{counts.truncated_pieces} of {counts.pieces + counts.truncated_pieces} pieces are cut off"
    )
    yield from found(severity, "length", counts.truncated_examples, what)
    what = "relations whose second argument is cut off: the model cannot see it"
    yield from found(Severity.WARNING, "length", counts.arguments_cut_off, what)
    of_all = f"of {counts.mentions}"
    what = f"mentions {of_all} cut by the end of a sub-sentence: none of the parts is the mention"
    yield from found(Severity.WARNING, "mentions", counts.mentions_cut, what)
    what = (
        f"sentences longer than max_pieces = {max_pieces}: nothing is trained on them, nor on their "
        f"{counts.mentions_dropped} mentions"
    )
    yield from found(Severity.WARNING, "length", counts.rows_dropped, what)
    what = f"mentions {of_all} that begin or end inside a word: tags of words cannot say where"
    yield from found(Severity.WARNING, "mentions", counts.mentions_off_word_bounds, what)
    what = f"mentions {of_all} that share a word with another: one sequence of tags cannot hold both"
    yield from found(Severity.WARNING, "mentions", counts.mentions_overlapped, what)
    unit = {Kind.TAGGING: "mentions", Kind.RELATION: "pairs"}.get(task.kind, "entries")
    what = f"{unit} of {facts.gold} in the gold that no example stands for: they count as misses"
    if task.kind is Kind.RELATION:
        what += f" ({facts.lost_positives} with a relation)"
    severity = Severity.WARNING if facts.lost_positives else Severity.NOTE
    yield from found(severity, "gold", len(facts.lost), what, facts.lost)
