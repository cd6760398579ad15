"""Writing a field as four PNG files."""

from __future__ import annotations

from pathlib import Path

import cv2

from hpa_cells.atomic import replaced_on_success
from hpa_cells.fields.ids import check_field_id
from hpa_cells.fields.png import with_pixel_size
from hpa_cells.types import Channel, Field

__all__ = ["write_field"]


def write_field(field: Field, folder: Path | str) -> None:
    """Write ``<id>_red.png`` and so on: grey, of the field's 8 or 16 bits, with the pixel size inside.

    Each file appears whole or not at all. A missing channel gets no file. `read_field` gives the same field
    back; the pixel size to six digits.

    Parameters
    ----------
    field
        The field.
    folder
        Where to; made when it is missing.

    Raises
    ------
    ValueError
        If the id of the field is not safe as a file name.
    OSError
        If a file cannot be written.
    """
    check_field_id(field.field_id)
    for channel in Channel:
        if channel in field.missing:
            continue
        encoded, data = cv2.imencode(".png", field.image[channel])
        assert encoded
        with replaced_on_success(Path(folder) / f"{field.field_id}_{channel.color}.png") as path:
            path.write_bytes(with_pixel_size(data.tobytes(), field.pixel_size_um))
