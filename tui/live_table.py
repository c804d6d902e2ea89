"""A table that is shown anew every few seconds without losing the reader's place, and is quick with thousands of rows.

Only the lines that stand on the screen are drawn; a change of the rows costs one pass over their cells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from .cells import Cell, Column

_GAP = 2
Cells = Sequence[Cell]


def cell_width(text: str) -> int:
    """The columns of the terminal that a text takes."""
    return len(text) if text.isascii() else cell_len(text)


class LiveTable(ScrollView, can_focus=True):
    """A table with keyed rows and a head that stays; Enter and a click post ``Chosen`` where it has a cursor."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "live-table--head",
        "live-table--cursor",
        "live-table--cursor-away",
        "live-table--even",
    }
    DEFAULT_CSS = """
    LiveTable {
        height: 1fr;
        & > .live-table--head { text-style: bold; background: $panel; color: $foreground; }
        & > .live-table--cursor { background: $block-cursor-background; color: $block-cursor-foreground; }
        & > .live-table--cursor-away { background: $boost; text-style: underline; }
        & > .live-table--even { background: $surface-lighten-1 40%; }
        &:ansi > .live-table--head { text-style: bold underline; background: ansi_default; color: ansi_default; }
        &:ansi > .live-table--cursor { text-style: reverse; background: ansi_default; color: ansi_default; }
        &:ansi > .live-table--cursor-away { text-style: underline; background: ansi_default; }
        &:ansi > .live-table--even { background: ansi_default; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("home,g", "top", "First row", show=False),
        Binding("end,G", "bottom", "Last row", show=False),
        Binding("left", "scroll_left", "Left", show=False),
        Binding("right", "scroll_right", "Right", show=False),
    ]

    cursor_row: reactive[int] = reactive(0)

    class Chosen(Message):
        """A row was chosen."""

        def __init__(self, key: str) -> None:
            super().__init__()
            self.key = key

    class Moved(Message):
        """The cursor stands on another row."""

    def __init__(self, *, id: str | None = None, cursor: Literal["row", "none"] = "row", frozen: int = 0) -> None:
        """``frozen`` columns at the left stay where they are when the others are scrolled."""
        super().__init__(id=id)
        self._cursor = cursor
        self._frozen = frozen
        self._columns: tuple[Column, ...] = ()
        self._rows: dict[str, Cells] = {}
        self._keys: list[str] = []
        self._widths: list[int] = []
        self._moved = False

    def show(self, columns: Sequence[Column], rows: Mapping[str, Cells]) -> None:
        """Show these rows; the cursor stays on its row as long as that is there, or above all until it is moved."""
        if tuple(columns) == self._columns and rows == self._rows and list(rows) == self._keys:
            return
        current = self.row_at_cursor
        self._columns, self._rows, self._keys = tuple(columns), dict(rows), list(rows)
        widths = [cell_width(column.title) for column in self._columns]
        for cells in self._rows.values():
            for number, (text, _) in enumerate(cells):
                width = cell_width(text)
                if width > widths[number]:
                    widths[number] = width
        self._widths = widths
        self.virtual_size = Size(sum(widths) + _GAP * len(widths), len(self._keys) + 1)
        if self._moved and current in self._rows:
            place = self._keys.index(current)
            if place != self.cursor_row:
                # Rows came or went above: the row under the cursor stays at its height on the screen.
                self.scroll_to(y=self.scroll_offset.y + place - self.cursor_row, animate=False, immediate=True)
                self.cursor_row = place
        self.cursor_row = min(self.cursor_row, max(0, len(self._keys) - 1))
        self.refresh()

    @property
    def row_count(self) -> int:
        """How many rows there are."""
        return len(self._keys)

    @property
    def titles(self) -> list[str]:
        """The heads of the columns."""
        return [column.title for column in self._columns]

    def texts(self) -> list[list[str]]:
        """The rows as plain texts."""
        return [[cell.text for cell in self._rows[key]] for key in self._keys]

    @property
    def row_at_cursor(self) -> str | None:
        """The key of the row under the cursor, or None in an empty table."""
        return self._keys[self.cursor_row] if 0 <= self.cursor_row < len(self._keys) else None

    def render_line(self, y: int) -> Strip:
        """The head, or a row of those that the scrolling leaves on the screen."""
        width = self.scrollable_content_region.width
        row = y + self.scroll_offset.y - 1
        if y == 0:
            return self._line([Cell(column.title) for column in self._columns], "live-table--head", width)
        if not 0 <= row < len(self._keys):
            return Strip.blank(width, self.rich_style)
        component = "live-table--even" if row % 2 == 0 else ""
        if row == self.cursor_row and self._cursor == "row":
            component = "live-table--cursor" if self.has_focus else "live-table--cursor-away"
        return self._line(self._rows[self._keys[row]], component, width)

    def _line(self, cells: Cells, component: str, width: int) -> Strip:
        base = self.get_component_rich_style(component) if component else self.rich_style
        segments = []
        for (text, style), column, space in zip(cells, self._columns, self._widths, strict=True):
            missing = " " * (space - cell_width(text))
            # The cursor's colours must stay readable on any theme: a cell's own colour gives way.
            own = base + Style.parse(style) if style and component != "live-table--cursor" else base
            padded = f"{missing}{text}" if column.number else f"{text}{missing}"
            segments += [Segment(padded, own), Segment(" " * _GAP, base)]
        left = sum(self._widths[: self._frozen]) + _GAP * min(self._frozen, len(self._widths))
        line = Strip(segments)
        shift = self.scroll_offset.x
        if 0 < left < width:
            moving = line.crop(left + shift, left + shift + width - left)
            line = Strip.join([line.crop(0, left), moving])
        else:
            line = line.crop(shift, shift + width)
        return line.extend_cell_length(width, base).crop(0, width)

    def watch_cursor_row(self) -> None:
        """Bring the cursor's row on the screen."""
        if self._cursor == "row" and self._keys:
            height = max(1, self.scrollable_content_region.height - 1)
            top = min(max(self.scroll_offset.y, self.cursor_row - height + 1), self.cursor_row)
            self.scroll_to(y=top, animate=False, immediate=True)
            self.post_message(self.Moved())
        self.refresh()

    def on_focus(self) -> None:
        """The cursor looks otherwise where keys go elsewhere."""
        self.refresh()

    def on_blur(self) -> None:
        """See ``on_focus``."""
        self.refresh()

    def action_move(self, rows: int) -> None:
        """Move the cursor, or the rows of a table without one."""
        if self._cursor == "row":
            self._moved = True
            self.cursor_row = min(max(0, self.cursor_row + rows), max(0, len(self._keys) - 1))
        else:
            self.scroll_relative(y=rows, animate=False)

    def action_page(self, pages: int) -> None:
        """Move by what fits on the screen."""
        self.action_move(pages * max(1, self.scrollable_content_region.height - 2))

    def action_top(self) -> None:
        """Go to the first row."""
        self.action_move(-len(self._keys))

    def action_bottom(self) -> None:
        """Go to the last row."""
        self.action_move(len(self._keys))

    def action_choose(self) -> None:
        """Choose the row under the cursor."""
        key = self.row_at_cursor
        if key is not None and self._cursor == "row":
            self.post_message(self.Chosen(key))

    def on_click(self, event: events.Click) -> None:
        """A click moves the cursor, a second one on the same row chooses it."""
        row = event.y + self.scroll_offset.y - 1
        if event.y == 0 or not 0 <= row < len(self._keys) or self._cursor == "none":
            return
        if row == self.cursor_row and event.chain > 1:
            self.action_choose()
        self._moved = True
        self.cursor_row = row
