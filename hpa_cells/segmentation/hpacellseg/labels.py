"""`label_cell` and `label_nuclei`: from what the networks found to label images.

Both know two modes. By default the work is done at the resolution of the networks, 0.32 um a pixel, and the label
images are enlarged from there; ``exact=True`` takes the published steps one by one at the resolution of the
predictions, for the same masks to the pixel as ``hpacellseg/utils.py`` of CellProfiling/HPA-Cell-Segmentation.

What is wrong there is right here, in both modes:

- Ids of cells were cast to 8 bits midway: the 256th cell vanished, the next had the number of the first, and
  cells of one number that touched became one. Here there may be as many cells as there is room for.
- The borders of nuclei and of cells were added in 8 bits, so that 150 + 150 were 44, no border: where both networks
  were surest that two nuclei touch, these and their cells became one.
- Floats from 0 to 1 gave no cell at all. Here they are what their 255ths would be.
- Areas were counted in pixels, so that a field at a quarter of the size gave empty masks. Here they are scaled by
  `pixel_size_um`.

What may not have been meant, but shapes the masks that were published, is kept:

- Cells first spread over the borders between them, too: the line that was to leave these out has no effect.
- `label_nuclei` compares 255ths with thresholds meant for probabilities: any trace of a nucleus belongs to it, any
  trace of a border parts two. Floats are compared as was meant.
- A cell that lies within another is part of it.
- Where two cells meet in a nook, the higher id has it.
- Cells lose one pixel at borders and two elsewhere. Only in the exact mode: that is less than a
  pixel of the networks.
"""

from __future__ import annotations

from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpa_cells.segmentation.hpacellseg.label_exact import exact_cells, exact_nuclei
from hpa_cells.segmentation.hpacellseg.label_fast import fast_cells, fast_nuclei
from hpa_cells.segmentation.hpacellseg.label_thresholds import UM_PER_PX, LabelSizes

__all__ = ["label_cell", "label_nuclei", "label_predictions"]

Prediction = NDArray[np.uint8]
Labels = NDArray[np.int32]

# The networks were trained on a quarter of the resolution.
_NETWORK_UM_PER_PX: Final = 4 * UM_PER_PX


def label_cell(
    nuclei_pred: ArrayLike,
    cell_pred: ArrayLike,
    *,
    exact: bool = False,
    pixel_size_um: float = UM_PER_PX,
) -> tuple[Labels, Labels]:
    """Nuclei and cells, a nucleus with the id of its cell.

    Parameters
    ----------
    nuclei_pred, cell_pred
        (H, W, 3) each, of ``pred_nuclei`` and ``pred_cells``: a plane that is not used, borders, and interiors.
        uint8 in 255ths, or floats from 0 to 1; arrays or what numpy makes one of, such as tensors on the CPU.
    exact
        Whether to do as the original does, pixel by pixel; about 30 times slower.
    pixel_size_um
        Side of a pixel, in um, from 0.005 to 5: scales the least areas of nuclei and cells, 16 and 35 um2.

    Returns
    -------
    nuclei, cells
        (H, W) int32 each, 0 where there is none. Cells are numbered from 1, from the top. Each grew from a nucleus,
        of which there may be nothing left.

    Raises
    ------
    ValueError
        If a prediction has another shape or values that are no probabilities, or the two have unlike shapes, or
        the pixel size is out of range.
    TypeError
        If a prediction is neither of uint8 nor of floats, or numpy makes no array of it.
    """
    predictions = _both(nuclei_pred, cell_pred)
    sizes = LabelSizes.at(pixel_size_um)
    if exact:
        return exact_cells(*predictions, sizes)
    (small_nuclei, small_cells), sizes = _for_network(*predictions, pixel_size_um=pixel_size_um)
    nuclei, cells = fast_cells(small_nuclei, small_cells, sizes)
    return _enlarged(nuclei, predictions[0]), _enlarged(cells, predictions[1])


def label_nuclei(nuclei_pred: ArrayLike, *, exact: bool = False, pixel_size_um: float = UM_PER_PX) -> Labels:
    """Nuclei without regard to cells: not the same as those of `label_cell`.

    Parameters
    ----------
    nuclei_pred
        As for `label_cell`. Of uint8, any value above 0 counts; of floats, interiors count above 0.4, and borders
        above 0.05.
    exact, pixel_size_um
        As for `label_cell`.

    Returns
    -------
    (H, W) int32, 0 where there is none; ids from 1.

    Raises
    ------
    ValueError, TypeError
        As `label_cell` does.
    """
    given = _array(nuclei_pred, "nuclei_pred")
    unit = 1 if given.dtype == np.uint8 else 255
    in_255ths = _in_255ths(given, "nuclei_pred")
    sizes = LabelSizes.at(pixel_size_um)
    if exact:
        return exact_nuclei(in_255ths, sizes, unit=unit)
    [small], sizes = _for_network(in_255ths, pixel_size_um=pixel_size_um)
    return _enlarged(fast_nuclei(small, sizes, unit=unit), in_255ths)


def label_predictions(
    nuclei_pred: ArrayLike, cell_pred: ArrayLike, *, um_per_px: float
) -> tuple[Labels, Labels]:
    """Nuclei and cells at the resolution of the predictions, best that of the networks, 0.32 um.

    Parameters, result and errors are those of `label_cell`, where `um_per_px` is called `pixel_size_um`.
    """
    return fast_cells(*_both(nuclei_pred, cell_pred), LabelSizes.at(um_per_px))


def _both(nuclei_pred: ArrayLike, cell_pred: ArrayLike) -> tuple[Prediction, Prediction]:
    nuclei, cells = _array(nuclei_pred, "nuclei_pred"), _array(cell_pred, "cell_pred")
    if nuclei.shape != cells.shape:
        raise ValueError(
            f"nuclei_pred has the shape {nuclei.shape}, cell_pred {cells.shape}: give those of one field."
        )
    return _in_255ths(nuclei, "nuclei_pred"), _in_255ths(cells, "cell_pred")


def _array(prediction: ArrayLike, name: str) -> NDArray[Any]:
    try:
        return np.asarray(prediction)
    # Of ragged lists, of tensors with a gradient, and of tensors on a GPU.
    except (ValueError, RuntimeError, TypeError) as error:
        raise TypeError(
            f"{name} is a {type(prediction).__name__} that numpy makes no array of ({error}): give an array (H, W, 3)."
        ) from error


def _in_255ths(prediction: NDArray[Any], name: str) -> Prediction:
    if prediction.ndim != 3 or prediction.shape[2] != 3 or 0 in prediction.shape:
        raise ValueError(
            f"{name} has the shape {prediction.shape}, expected (H, W, 3): an unused plane, borders, interiors."
        )
    if prediction.dtype == np.uint8:
        return np.ascontiguousarray(prediction)
    if not np.issubdtype(prediction.dtype, np.floating):
        raise TypeError(f"{name} is {prediction.dtype}: give uint8, or floats from 0 to 1.")
    is_wrong = ~((prediction >= 0) & (prediction <= 1))  # NaN, too
    if is_wrong.any():
        first = prediction[is_wrong][0]
        raise ValueError(
            f"{name} has {np.count_nonzero(is_wrong)} values that are no probabilities, such as {first}: give floats "
            "from 0 to 1, without NaN, or uint8 in 255ths."
        )
    in_255ths: Prediction = np.rint(prediction * 255).astype(np.uint8)
    return in_255ths


def _for_network(*predictions: Prediction, pixel_size_um: float) -> tuple[list[Prediction], LabelSizes]:
    """The predictions at the resolution of the networks, or at their own if that is lower, and the sizes there."""
    um_per_px = max(pixel_size_um, _NETWORK_UM_PER_PX)
    height, width = (max(1, round(side * pixel_size_um / um_per_px)) for side in predictions[0].shape[:2])
    # Without a mean over areas: predictions that were enlarged hold nothing that could alias.
    small = [cv2.resize(each, (width, height), interpolation=cv2.INTER_LINEAR) for each in predictions]
    return [np.asarray(each, dtype=np.uint8) for each in small], LabelSizes.at(um_per_px)


def _enlarged(labels: Labels, prediction: Prediction) -> Labels:
    height, width = prediction.shape[:2]
    large = cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    return large.astype(np.int32, copy=False)
