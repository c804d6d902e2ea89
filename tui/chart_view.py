"""A chart on a screen: one topic at a time, its curves together or one alone, looked at with keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.widget import Widget

from .chart import Line, Options, render
from .topics import Topic

SMOOTHINGS = (0.0, 0.6, 0.9, 0.98)


class ChartView(Widget, can_focus=True):
    """Shows one of several topics; which one, and how, stays when the values are read anew."""

    DEFAULT_CSS = """
    ChartView { width: 1fr; height: 1fr; border-left: solid transparent; padding: 0 1 0 0; }
    ChartView:focus { border-left: outer $accent; }
    ChartView:ansi:focus { border-left: outer ansi_default; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("m", "topic(1)", "Metric"),
        Binding("M", "topic(-1)", "Metric before", show=False),
        Binding("t", "alone", "One curve", show=False),
        Binding("s", "smooth", "Smooth", show=False),
        Binding("L", "log", "Log scale", show=False),
        Binding("x", "axis", "Steps or time", show=False),
        Binding("left", "cursor(-1)", "Cursor left", show=False),
        Binding("right", "cursor(1)", "Cursor right", show=False),
        Binding("shift+left", "cursor(-10)", "Cursor far left", show=False),
        Binding("shift+right", "cursor(10)", "Cursor far right", show=False),
        Binding("home", "cursor(-1000)", "Cursor to the start", show=False),
        Binding("end", "cursor(1000)", "No cursor", show=False),
    ]

    def __init__(self, *, id: str | None = None, first: int = 0) -> None:
        """``first``: which topic to begin with."""
        super().__init__(id=id)
        self._topics: Sequence[Topic] = ()
        self._first = first
        self._title: str | None = None
        self._alone: str | None = None
        self._smoothing = 0.0
        self._log = False
        self._time = False
        self._cursor: int | None = None
        self._drawn: tuple[object, Text] | None = None

    def show(self, topics: Sequence[Topic]) -> None:
        """Show these values."""
        if list(topics) != list(self._topics):
            self._topics = topics
            self._drawn = None
            self.refresh()

    @property
    def topic(self) -> Topic:
        """The topic that is shown."""
        by_title = {topic.title: topic for topic in self._topics}
        if self._title in by_title:
            return by_title[self._title]
        return self._topics[min(self._first, len(self._topics) - 1)] if self._topics else Topic("", ())

    @property
    def lines(self) -> list[Line]:
        """The curves that are shown."""
        curves = self.topic.curves
        if self._alone in {curve.name for curve in curves}:
            curves = tuple(curve for curve in curves if curve.name == self._alone)
        return [curve.line(self._time) for curve in curves]

    def render(self) -> Text:
        """The chart as it was last drawn, if nothing has changed: a screen asks for it more often than that."""
        asked = (self.size, self._title, self._alone, self._smoothing, self._log, self._time, self._cursor)
        if self._drawn is None or self._drawn[0] != asked:
            self._drawn = (asked, self._draw(*self.size))
        return self._drawn[1]

    def _draw(self, width: int, height: int) -> Text:
        """A line that says what is shown and how, and the chart."""
        how = ["time" if self._time else "steps"]
        if self._smoothing:
            how.append(f"smoothed {self._smoothing:g}")
        if self._log:
            how.append("log scale")
        if len(self._topics) > 1:
            place = [topic.title for topic in self._topics].index(self.topic.title) + 1
            how.append(f"{place}/{len(self._topics)}")
        title = Text(self.topic.title, style="bold").append(f"  {', '.join(how)}", style="not bold dim")
        title.truncate(width)
        cursor = None if self._cursor is None else self._cursor / max(1, self._places)
        options = Options(self._smoothing, self._log, self._time, cursor)
        return Text("\n").join([title, *render(self.lines, width, height - 1, options)])

    @property
    def _places(self) -> int:
        """How many places the cursor has: about the columns of the plot."""
        return max(1, self.size.width - 10)

    def action_topic(self, steps: int) -> None:
        """Show the next topic, or the one before."""
        titles = [topic.title for topic in self._topics]
        if titles:
            self._title = titles[(titles.index(self.topic.title) + steps) % len(titles)]
            self.refresh()

    def action_alone(self) -> None:
        """Show the first curve alone, then the next, then all again."""
        names = [None, *(curve.name for curve in self.topic.curves)]
        place = names.index(self._alone) if self._alone in names else 0
        self._alone = names[(place + 1) % len(names)]
        self.refresh()

    def action_smooth(self) -> None:
        """Smooth more, then not at all."""
        self._smoothing = SMOOTHINGS[(SMOOTHINGS.index(self._smoothing) + 1) % len(SMOOTHINGS)]
        self.refresh()

    def action_log(self) -> None:
        """Change between a linear and a logarithmic scale."""
        self._log = not self._log
        self.refresh()

    def action_axis(self) -> None:
        """Change between steps and time."""
        self._time = not self._time
        self.refresh()

    def action_cursor(self, places: int) -> None:
        """Move the cursor; it comes in at the right end, and leaves there."""
        at = (self._places + 1 if self._cursor is None else self._cursor) + places
        self._cursor = None if at > self._places else max(0, at)
        self.refresh()
