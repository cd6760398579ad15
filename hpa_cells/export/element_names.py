"""Names for what belongs to a field inside a Zarr folder, where a field's id cannot always be one."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["element_names"]


def element_names(field_ids: Sequence[str]) -> dict[str, str]:
    """A name for each field: its id where that is one, else the id with ``_`` for what a name may not hold.

    A name has letters, digits, ``_``, ``-`` and ``.``, begins with a letter or digit, and is another than all others
    also where capital letters count as small ones. Ids that are names by themselves keep them; of those that would get
    the same, later ones get a number.

    Examples
    --------
    >>> element_names(["57_F11_1", "plate 1", "plate=1", "Plate_1"])
    {'57_F11_1': '57_F11_1', 'plate 1': 'plate_1-2', 'plate=1': 'plate_1-3', 'Plate_1': 'Plate_1'}
    """
    names: dict[str, str] = {}
    taken: set[str] = set()
    # Stable: those that stay as they are come first.
    for field_id in sorted(field_ids, key=lambda each: each != _cleaned(each)):
        cleaned = name = _cleaned(field_id)
        number = 2
        while name.casefold() in taken:
            name, number = f"{cleaned}-{number}", number + 1
        taken.add(name.casefold())
        names[field_id] = name
    return {field_id: names[field_id] for field_id in field_ids}


def _cleaned(field_id: str) -> str:
    cleaned = "".join(each if each.isalnum() or each in "_-." else "_" for each in field_id)
    return cleaned if cleaned[0].isalnum() else f"f{cleaned}"
