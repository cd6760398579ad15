from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from hpa_cells.classes import get_class_set
from hpa_cells.metrics import halving_shares, reliability_bins
from hpa_cells.report.reliability import write_reliability_figure


def bins_of(num_rows: int, class_set_name: str) -> pd.DataFrame:
    """Bins of every class before and after, the second half as likely."""
    rng = np.random.default_rng(0)
    shares = halving_shares(num_rows, least=15)
    tables = []
    for key in get_class_set(class_set_name).keys:
        before = rng.random(num_rows)
        labels = rng.random(num_rows) < before / 2
        for stage, said in (("before", before), ("after", before / 2)):
            tables.append(reliability_bins(said, labels, shares=shares).assign(class_key=key, stage=stage))
    return pd.concat(tables, ignore_index=True)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that were saved; nothing is rendered."""
    figures: list[Figure] = []
    monkeypatch.setattr(
        Figure, "savefig", lambda figure, path, **_: (figures.append(figure), Path(path).write_text(""))
    )
    return figures


@pytest.mark.parametrize("class_set_name", ["hpa2021", "hpa2018"])
def test_a_panel_a_class_shows_the_bins(drawn: list[Figure], tmp_path: Path, class_set_name: str) -> None:
    """One class has no rows: its panel is empty."""
    class_set, bins = get_class_set(class_set_name), bins_of(200, class_set_name)
    bins = bins[bins["class_key"] != "nucleoli"]
    write_reliability_figure(bins, class_set, tmp_path / "a.png", of="cells")
    [figure] = drawn
    panels = [axes for axes in figure.get_axes() if axes.get_visible()]
    assert len(panels) == len(class_set)
    for key, axes in zip(class_set.keys, panels, strict=True):
        assert axes.get_title(loc="left").split()[0].lower() in key
        lines = {line.get_label(): line for line in axes.get_lines()}
        for stage, intervals in zip(("before", "after"), axes.collections, strict=True):
            rows = bins[(bins["class_key"] == key) & (bins["stage"] == stage)]
            np.testing.assert_allclose(lines[stage].get_xydata(), rows[["predicted", "observed"]])
            ends = np.array([segment[:, 1] for segment in intervals.get_segments()])
            np.testing.assert_allclose(ends.reshape(-1, 2), rows[["low", "high"]])
        rows = bins[(bins["class_key"] == key) & (bins["stage"] == "after")]
        num_rows = 0 if key == "nucleoli" else 200
        assert axes.texts[0].get_text() == f"true of {rows['num_truths'].sum()} of {num_rows} cells"
        assert lines["before"].get_marker() != lines["after"].get_marker()
    assert "the 25 most probable cells, the next 25, 50, 100" in figure.get_supxlabel()
    [legend] = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["says what is true", "before", "after"]
