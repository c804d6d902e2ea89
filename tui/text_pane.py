"""Lines of text that can be scrolled, searched and followed: a log, a settings file. Never markup."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widgets import Input, Static

from .live_table import cell_width


class TextLines(ScrollView, can_focus=True):
    """The lines themselves; only those on the screen are drawn."""

    DEFAULT_CSS = "TextLines { height: 1fr; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "scroll_down", "Down", show=False),
        Binding("k", "scroll_up", "Up", show=False),
        Binding("g", "scroll_home", "To the start", show=False),
        Binding("G", "scroll_end", "To the end", show=False),
    ]

    def __init__(self, follow: bool) -> None:
        super().__init__()
        self.follow = follow
        self.lines: Sequence[str] = ()
        self._pattern: re.Pattern[str] | None = None
        self._hit: int | None = None

    def show(self, lines: Sequence[str]) -> None:
        """Show these lines; where the end is followed, it stays in sight."""
        if lines != self.lines:
            self.lines = lines
            width = max(map(cell_width, lines), default=0)
            self.virtual_size = Size(width, len(lines))
            self.refresh()
        if self.follow:
            self.scroll_end(animate=False, x_axis=False)

    def search(self, wanted: str) -> None:
        """Mark where the words stand, whatever their case, and go to the last place."""
        self._pattern = re.compile(re.escape(wanted), re.IGNORECASE) if wanted else None
        self._hit = None
        self.step(-1)
        self.refresh()

    @property
    def hits(self) -> list[int]:
        """The numbers of the lines in which the words stand."""
        return [] if self._pattern is None else [n for n, line in enumerate(self.lines) if self._pattern.search(line)]

    @property
    def hit(self) -> int | None:
        """The line that the search stands on."""
        return self._hit

    def step(self, direction: int) -> None:
        """Go to the next line with the words, or the one before; after the last comes the first."""
        hits = self.hits
        if not hits:
            self._hit = None
            return
        here = len(self.lines) if self._hit is None else self._hit
        beyond = [n for n in hits if (n > here if direction > 0 else n < here)]
        self._hit = (beyond or hits)[0 if direction > 0 else -1]
        self.follow = False
        self.scroll_to(y=max(0, self._hit - self.size.height // 2), animate=False, immediate=True)
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """One line, with the words that are searched."""
        number = y + self.scroll_offset.y
        width = self.scrollable_content_region.width
        if number >= len(self.lines):
            return Strip.blank(width, self.rich_style)
        text = Text(self.lines[number], style=self.rich_style, end="", no_wrap=True)
        if self._pattern is not None:
            for match in self._pattern.finditer(text.plain):
                text.stylize("bold reverse" if number == self._hit else "underline", *match.span())
        strip = Strip(text.render(self.app.console))
        return strip.crop_extend(self.scroll_offset.x, self.scroll_offset.x + width, self.rich_style)

    def action_scroll_up(self) -> None:
        """Whoever goes up reads, and does not follow."""
        self.follow = False
        super().action_scroll_up()

    def action_page_up(self) -> None:
        """See ``action_scroll_up``."""
        self.follow = False
        super().action_page_up()

    def action_scroll_home(self) -> None:
        """See ``action_scroll_up``."""
        self.follow = False
        super().action_scroll_home()

    def on_mouse_scroll_up(self) -> None:
        """See ``action_scroll_up``."""
        self.follow = False


class TextPane(Vertical):
    """Lines with a search, and a line that says what is shown."""

    DEFAULT_CSS = """
    TextPane { height: 1fr; padding: 0 1; }
    TextPane > Static { height: 1; color: $text-muted; }
    TextPane > Input { height: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "search", "Search"),
        Binding("n", "step(1)", "Next match", show=False),
        Binding("N", "step(-1)", "Match before", show=False),
        Binding("f", "follow", "Follow"),
        Binding("escape", "drop_search", "Drop search", show=False),
    ]

    def __init__(self, empty: str, *, id: str, follow: bool = False) -> None:
        """``empty`` is said where there are no lines; ``follow``: the lines grow, and the end is what counts."""
        super().__init__(id=id)
        self._empty = empty
        self._grows = follow

    def compose(self) -> ComposeResult:
        """The lines, what is known of them, the search."""
        yield TextLines(self._grows)
        yield Static("", markup=False)
        entry = Input(placeholder="words to search", compact=True)
        entry.display = False
        yield entry

    def show(self, lines: Sequence[str]) -> None:
        """Show these lines."""
        self.query_one(TextLines).show(lines)
        self._tell()

    def _tell(self) -> None:
        lines, entry = self.query_one(TextLines), self.query_one(Input)
        parts = [f"{len(lines.lines)} lines" if lines.lines else self._empty]
        if self._grows:
            parts.append("following" if lines.follow else "not following")
        if entry.value:
            hits = lines.hits
            place = "" if lines.hit is None or lines.hit not in hits else f"{hits.index(lines.hit) + 1} of "
            parts.append(f"{place}{len(hits)} lines with the words")
        self.query_one(Static).update(Text(", ".join(parts)))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool:
        """Offer the end of a search only where there is one, and to follow only what grows."""
        if action == "follow":
            return self._grows
        if action == "drop_search":
            return any(entry.display for entry in self.query(Input))
        return True

    def action_search(self) -> None:
        """Ask for words; they are found while they are typed."""
        entry = self.query_one(Input)
        entry.display = True
        entry.focus()

    def action_drop_search(self) -> None:
        """Search no more."""
        self.query_one(Input).clear()
        self._leave()

    def action_step(self, direction: int) -> None:
        """Go to the next match or the one before."""
        self.query_one(TextLines).step(direction)
        self._tell()

    def action_follow(self) -> None:
        """Follow the end, or stay."""
        lines = self.query_one(TextLines)
        lines.follow = not lines.follow
        lines.show(lines.lines)
        self._tell()

    @on(Input.Changed)
    def _search(self, event: Input.Changed) -> None:
        event.stop()
        self.query_one(TextLines).search(event.value)
        self._tell()

    @on(Input.Submitted)
    def _submit(self, event: Input.Submitted) -> None:
        event.stop()
        self._leave()

    def _leave(self) -> None:
        entry = self.query_one(Input)
        entry.display = bool(entry.value)
        self.query_one(TextLines).focus()
