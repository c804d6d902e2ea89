"""Who is killed and when: at random, or held at a point inside a save or another write (``fault_points``)."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count

HALF_AN_EVENT = b'{"time": 17000'


@dataclass(frozen=True)
class Point:
    """A place in the code: the call that raises an audit event with such a path.

    Before the kill the newest file that fits ``torn`` is cut to its half, or ``half_line`` gets half a line, as if the
    kill had come in the middle of writing them. ``ranks``: those that come there.
    """

    what: str
    event: str
    path: str
    torn: str = ""
    half_line: str = ""
    ranks: tuple[int, ...] = (0,)


ASIDE = r"\.saving-step-\d+"
IN_A_SAVE = (
    Point("before the folder of a state", "os.mkdir", ASIDE + "$"),
    Point("before DeepSpeed's files", "os.mkdir", ASIDE + "/deepspeed$", ranks=(0, 1)),
    Point("DeepSpeed's files half written", "open", r"/state\.json$", torn="checkpoints/.saving-step-*/deepspeed/*.pt"),
    Point("random numbers half written", "open", r"/state\.json$", torn="checkpoints/.saving-step-*/random-*"),
    Point("before state.json", "open", r"/state\.json$"),
    Point("state.json half written", "open", ASIDE + "/manifest", torn="checkpoints/.saving-step-*/state.json"),
    Point("before the manifest", "open", ASIDE + r"/manifest\.json$"),
    Point("the manifest half written", "os.rename", ASIDE + "$", torn="checkpoints/.saving-step-*/manifest.json"),
    Point("before the state's rename", "os.rename", ASIDE + "$"),
    Point("after the state's rename", "open", "/checkpoints$"),
    Point("before the removal of an old state", "shutil.rmtree", r"/step-\d+$"),
    Point("in the removal of an old state", "os.remove", r"^state\.json$"),
    Point("the best encoder half written", "open", r"\.saving-best/manifest", torn="**/.saving-best/encoder/m*"),
    Point("between the renames of the best", "os.rename", r"/\.saving-best$"),
    Point("after the renames of the best", "os.rename", r"/predictions/dev\.\w+\.jsonl$"),
)
IN_A_WRITE = (
    Point("an event half written", "open", r"/events\.jsonl$", half_line="events.jsonl"),
    Point("before status.json", "os.rename", r"/status\.json$"),
    Point("before run.json", "os.rename", r"/run\.json$"),
    Point("a look at test half written", "open", r"/test_looks\.jsonl$", half_line="../test_looks.jsonl"),
    Point("before a report on test", "os.rename", r"/reports/test/\w+\.json$"),
)


@dataclass(frozen=True)
class Layout:
    """How a run is started: ``above`` are the processes above its ranks, the first of them the one that starts it."""

    name: str
    ranks: int
    above: tuple[str, ...] = ()

    @property
    def targets(self) -> tuple[str, ...]:
        return (*(f"rank {rank}" for rank in range(self.ranks)), *self.above)


# The command is ``mtscale train``, the runner ``deepspeed``, the launcher the runner's helper on each machine.
ALONE = Layout("1 rank alone", 1)
ONE = Layout("1 rank", 1, ("command",))
BARE = Layout("1 rank, deepspeed", 1, ("runner", "launcher"))
TWO = Layout("2 ranks", 2, ("command", "runner", "launcher"))
# Those that ``mtscale runs resume`` starts, by ranks.
RESUMED = {1: ONE, 2: TWO}


@dataclass(frozen=True)
class Kill:
    """A SIGKILL of ``target``: at a point of a rank, or ``share`` of the way through and ``delay`` seconds later.

    ``share`` is that of the events still to come; None stands for the start-up, of which ``delay`` is then a share.
    """

    target: str
    point: Point | None = None
    rank: int = 0
    nth: int = 1
    share: float | None = None
    delay: float = 0.0

    def __str__(self) -> str:
        if self.point is not None:
            where = "in a save: " if self.point in IN_A_SAVE else "in a write: "
            return f"{where}{self.point.what}" + (f" ({self.nth}.)" if self.nth > 1 else "")
        return "starting up" if self.share is None else f"{self.share:.0%} of the events left, +{self.delay:.2f} s"


class Delayed:
    """Whether something has been so for a while."""

    def __init__(self, condition: Callable[[], bool], seconds: float) -> None:
        self._condition = condition
        self._seconds = seconds
        self._since: float | None = None

    def __call__(self) -> bool:
        if self._since is None and self._condition():
            self._since = time.monotonic()
        return self._since is not None and time.monotonic() - self._since >= self._seconds


@dataclass(frozen=True)
class Night:
    """A run and the kills that hit it one after another. ``own_store``: in a runs folder where nothing has run yet."""

    number: int
    layout: Layout
    kills: tuple[Kill, ...]
    own_store: bool


def nights(seed: int, ranks: tuple[int, ...]) -> Iterator[Night]:
    """Bad nights without end, of one to five kills: nearly half of those inside a save."""
    draw = random.Random(seed)
    layouts = [layout for layout in (ALONE, TWO, ONE, TWO, BARE, TWO) if layout.ranks in ranks]
    deck: list[str] = []
    for number in count():
        layout = layouts[number % len(layouts)]
        kills = []
        for _ in range(draw.choice((1, 3, 4, 4, 5))):
            if not deck:
                deck = ["save"] * 9 + ["write"] * 3 + ["start"] * 2 + ["running"] * 6
                draw.shuffle(deck)
            kills.append(_kill(draw, layout, deck.pop()))
        yield Night(number, layout, tuple(kills), own_store=draw.random() < 0.25)


def _kill(draw: random.Random, layout: Layout, where: str) -> Kill:
    target = draw.choice(layout.targets)
    if where in {"save", "write"}:
        point = draw.choice(IN_A_SAVE if where == "save" else IN_A_WRITE)
        rank = draw.choice([rank for rank in point.ranks if rank < layout.ranks])
        # In a save every third kill hits the second one that comes; an event may be any of the first epoch.
        nth = draw.randint(1, 23) if point.half_line == "events.jsonl" else draw.choice((1, 1, 2))
        return Kill(target, point, rank, nth)
    if where == "start":
        return Kill(target, delay=draw.random())
    return Kill(target, share=draw.random(), delay=draw.uniform(0.0, 0.5))
