"""What channels are called in the files of other tools, and the colours that they are shown in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hpa_cells.cells import channel_range
from hpa_cells.types import Channel, Field

__all__ = ["CHANNEL_NAMES", "ShownChannel", "shown_channels"]

# `read_field` knows a channel by these in an OME-TIFF.
CHANNEL_NAMES: Final = ("microtubules", "protein", "nucleus", "ER")
_COLORS: Final = ("#ff0000", "#00ff00", "#0000ff", "#ffff00")


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownChannel:
    """A channel as others see it.

    Attributes
    ----------
    channel
        Which.
    name
        What is stained.
    color
        ``#rrggbb``, that of the Human Protein Atlas.
    window
        The intensities that are shown as black and as bright, in levels of the field's 8 or 16 bit.
    """

    channel: Channel
    name: str
    color: str
    window: tuple[int, int]


def shown_channels(field: Field) -> list[ShownChannel]:
    """The channels that the field has, in the usual order; a missing one is left out, and not shown as empty."""
    return [
        ShownChannel(
            channel=channel,
            name=CHANNEL_NAMES[channel],
            color=_COLORS[channel],
            window=_window(field, channel),
        )
        for channel in Channel
        if channel not in field.missing
    ]


def _window(field: Field, channel: Channel) -> tuple[int, int]:
    low, high = channel_range(field.image[channel], field.max_value)
    # A viewer's slider ends at what the data type holds.
    return min(low, field.max_value - 1), min(high, field.max_value)
