"""How what is logged looks on standard error."""

from __future__ import annotations

import logging

from hpa_cells.shown import shown

__all__ = ["LogFormatter"]


class LogFormatter(logging.Formatter):
    """Messages and traces as `hpa_cells.shown.shown` gives them; a line that goes on is indented.

    So no name of a file passes for a message of the program.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The text of a record."""
        # Tabs are Hydra's.
        return shown(super().format(record).expandtabs(2)).replace("\n", "\n  ")
