"""Which pooling, with which options, and which classes are pooled in another way."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from inspect import signature
from typing import Any

from hpa_cells.classes import ClassSet
from hpa_cells.models.pooling.attention import GatedAttention
from hpa_cells.models.pooling.base import BagPooling
from hpa_cells.models.pooling.noisy import NoisyAndPooling, NoisyOrPooling
from hpa_cells.models.pooling.values import LogSumExpPooling, MaxPooling, MeanPooling, TopKPooling

__all__ = ["POOLINGS", "PoolingSettings"]

POOLINGS: dict[str, type[BagPooling]] = {
    "mean": MeanPooling,
    "max": MaxPooling,
    "log_sum_exp": LogSumExpPooling,
    "top_k": TopKPooling,
    "noisy_or": NoisyOrPooling,
    "noisy_and": NoisyAndPooling,
    "gated_attention": GatedAttention,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class PoolingSettings:
    """How the cells of a field become the field.

    Attributes
    ----------
    name
        A key of `POOLINGS`.
    options
        Its options, e.g. ``{"share": 0.3}``; those that are not given have their defaults.
    exceptions
        Class -> name of the pooling for this class alone, with default options; one of the same name as
        `name` changes nothing. A class is given by its key in the files of settings, and by its position,
        as text, where a model is built, see `with_positions`.
    """

    name: str = "mean"
    options: dict[str, Any] = field(default_factory=dict)
    exceptions: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in (self.name, *self.exceptions.values()):
            if name not in POOLINGS:
                raise ValueError(f"Pooling {name!r} is unknown: use one of {', '.join(POOLINGS)}.")
        _check_options(self.name, self.options)

    @property
    def needs_class_logits(self) -> bool:
        """Whether only logits of classes can be pooled like this, not embeddings."""
        return bool(self.exceptions) or POOLINGS[self.name].needs_class_logits

    def with_positions(self, class_set: ClassSet) -> PoolingSettings:
        """The same, with exceptions by position in `class_set` in place of keys.

        Raises
        ------
        ValueError
            If the set has no class of such a key.

        Examples
        --------
        >>> from hpa_cells.classes import get_class_set
        >>> settings = PoolingSettings(exceptions={"mitotic_spindle": "max"})
        >>> settings.with_positions(get_class_set("hpa2021")).exceptions
        {'11': 'max'}
        """
        return replace(
            self, exceptions={str(class_set.index(key)): name for key, name in self.exceptions.items()}
        )


def _check_options(name: str, options: dict[str, Any]) -> None:
    parameters = signature(POOLINGS[name]).parameters.values()
    defaults = {each.name: each.default for each in parameters if each.kind is each.KEYWORD_ONLY}
    for option, value in options.items():
        if option not in defaults:
            raise ValueError(
                f"Pooling {name} has no option {option!r}: it takes {', '.join(defaults) or 'none'}."
            )
        is_whole = isinstance(defaults[option], int)
        if isinstance(value, bool) or not isinstance(value, int if is_whole else int | float):
            kind = "a whole number" if is_whole else "a number"
            raise ValueError(f"Option {option} of pooling {name} is {value!r}: give {kind}.")
