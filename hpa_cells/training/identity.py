"""What tells one training from another: the settings that change its result, each in one spelling."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final

from hpa_cells.hub import is_on_hub

__all__ = ["identity"]

# Where things are kept, how fast a training is and how talkative: nothing of it changes what comes out.
_WITHOUT_EFFECT: Final = frozenset(
    {
        *("out", "resume", "crop_store", "embedding_store", "teacher_store", "segmentation.store"),
        *("workers", "bags.workers", "segmentation.mix.workers", "threads"),
        *("logger", "callbacks.progress", "callbacks.learning_rate", "hydra"),
        *("trainer.enable_progress_bar", "trainer.enable_model_summary"),
    }
)
# The last word of every setting that is a path or a list of them; words such as `shipped` stay what they are.
_PATHS: Final = frozenset(
    {
        *("root", "fields", "labels", "path", "groups_file", "review", "cell_labels", "teacher"),
        *("init", "weights_file", "folder", "nuclei_folder", "weights", "dirpath", "default_root_dir"),
        *("start", "real_data", "cell_fields", "cell_masks", "nuclei", "outlines"),
    }
)


def identity(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that change what comes out of a training, ``./sim`` and ``sim/`` as ``sim``.

    Links are not followed: folders that lie together may be moved together.

    Parameters
    ----------
    settings
        All settings of a training, nested plain values; also those that an earlier version wrote.

    Examples
    --------
    >>> identity({"seed": 0, "out": "m", "bags": {"balance": 0.5, "workers": 4}, "data": {"root": "./sim/"}})
    {'seed': 0, 'bags': {'balance': 0.5}, 'data': {'root': 'sim'}}
    """
    return {key: _of_one(value, key) for key, value in settings.items() if key not in _WITHOUT_EFFECT}


def _of_one(value: Any, name: str) -> Any:
    if isinstance(value, Mapping):
        named = {key: f"{name}.{key}" for key in value}
        return {key: _of_one(value[key], named[key]) for key in value if named[key] not in _WITHOUT_EFFECT}
    if isinstance(value, list | tuple):
        return [_of_one(each, name) for each in value]
    if isinstance(value, str) and value and not is_on_hub(value) and name.rpartition(".")[2] in _PATHS:
        return os.path.normpath(value)
    return value
