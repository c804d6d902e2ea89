"""A table that is shown anew every few seconds without losing the reader's place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.coordinate import Coordinate
from textual.widgets import DataTable


class LiveTable(DataTable[Text]):
    """A table with keyed rows. Cells are ``Text``, never strings, which would be read as markup."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "cursor_down", "Down", show=False),
        Binding("k", "cursor_up", "Up", show=False),
    ]

    _columns_shown: tuple[Text, ...] = ()
    _rows_shown: Mapping[str, Sequence[Text]] = {}

    def show(self, columns: Sequence[Text], rows: Mapping[str, Sequence[Text]]) -> None:
        """Show these rows; the cursor stays on its row as long as that is there."""
        same_columns = self._columns_shown == tuple(columns)
        if same_columns and list(self._rows_shown) == list(rows):
            self._update(rows)
        else:
            self._rebuild(columns, rows, keep_columns=same_columns)
        self._columns_shown, self._rows_shown = tuple(columns), rows

    @property
    def row_at_cursor(self) -> str | None:
        """The key of the row under the cursor, or None in an empty table."""
        if not self.is_valid_row_index(self.cursor_row):
            return None
        return self.coordinate_to_cell_key(Coordinate(self.cursor_row, 0)).row_key.value

    def _update(self, rows: Mapping[str, Sequence[Text]]) -> None:
        for key, cells in rows.items():
            for number, (before, now) in enumerate(zip(self._rows_shown[key], cells, strict=True)):
                # Each update lays the table out again, so a cell that has not changed is left alone.
                if before != now:
                    self.update_cell(key, str(number), now, update_width=True)

    def _rebuild(self, columns: Sequence[Text], rows: Mapping[str, Sequence[Text]], keep_columns: bool) -> None:
        current = self.row_at_cursor
        scroll_x, scroll_y = self.scroll_offset
        self.clear(columns=not keep_columns)
        if not keep_columns:
            for number, column in enumerate(columns):
                self.add_column(column, key=str(number))
        for key, cells in rows.items():
            self.add_row(*cells, key=key)
        if current is not None and current in rows:
            self.move_cursor(row=list(rows).index(current), scroll=False)
            self.scroll_to(scroll_x, scroll_y, animate=False)
