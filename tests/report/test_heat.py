"""Heat maps: numbers in their cells, one scale, nothing where there is nothing."""

import numpy as np
import pytest

from yolor_mtl.report.heat import heat_maps, scale_of

NAMES = ("boxes", "words")


def panel(value: float) -> np.ndarray:
    return np.array([[1.0, value], [value, 1.0]])


def test_numbers_and_names() -> None:
    panels = {"stem": panel(0.25), "p3": panel(-0.33), "trunk": panel(float("nan"))}
    figure = heat_maps(panels, NAMES, "agreement", columns=2, bold={"p3": np.ones((2, 2), bool)}, note="why")
    drawn = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title(loc="left") for axes in drawn] == list(panels)
    texts = [[text.get_text() for text in axes.texts] for axes in drawn]
    assert texts == [["+0.25"] * 2, ["\N{MINUS SIGN}0.33"] * 2, ["\N{EN DASH}"] * 2]
    weights = [{text.get_fontweight() for text in axes.texts} for axes in drawn]
    assert weights == [{"normal"}, {"bold"}, {"normal"}]
    # Names stand at the left and below, once.
    assert [tick.get_text() for tick in drawn[0].get_yticklabels()] == list(NAMES)
    assert not any(tick.get_text() for tick in drawn[1].get_yticklabels())
    assert [tick.get_text() for tick in drawn[2].get_xticklabels()] == list(NAMES)
    assert {axes.images[0].get_clim() for axes in drawn} == {(-0.4, 0.4)}


def test_a_single_panel_of_nothing() -> None:
    assert heat_maps({"p3": panel(float("nan"))}, NAMES, "nothing").axes
    (axes, _) = heat_maps({"p3": panel(-0.001)}, NAMES, "next to nothing").axes
    assert [text.get_text() for text in axes.texts] == ["+0.00"] * 2


@pytest.mark.parametrize(("value", "limit"), [(0.0, 0.1), (0.3, 0.3), (-0.31, 0.4), (-1.0, 1.0), (float("nan"), 0.1)])
def test_the_scale_ends_at_a_tenth(value: float, limit: float) -> None:
    assert scale_of([panel(value), panel(0.0)]) == pytest.approx(limit)
