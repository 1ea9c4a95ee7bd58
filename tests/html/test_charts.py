"""Charts: marks stand where the numbers say."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from effdet.html import bar_chart, heat_map, histogram, line_chart
from effdet.html.axes import Scale, linear_ticks, log_ticks, scale_for, tick_text

NAN = float("nan")


def shapes(drawing: str, name: str, kind: str | None = None) -> list[ET.Element]:
    found = ET.fromstring(drawing).iter(name)  # parsing also checks that it is well-formed XML
    return [shape for shape in found if kind is None or shape.get("class") == kind]


def points(drawing: str) -> list[list[tuple[float, float]]]:
    lines = [shape.get("points", "") for shape in shapes(drawing, "polyline")]
    return [[tuple(map(float, pair.split(","))) for pair in line.split()] for line in lines]  # type: ignore[misc]


def test_ticks_are_round() -> None:
    assert linear_ticks(0, 1, 6) == [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert linear_ticks(-3, 12, 4) == [0, 5, 10]
    assert log_ticks(1, 1000) == [1, 10, 100, 1000]
    assert log_ticks(1, 10) == [1, 2, 5, 10]
    assert [tick_text(value) for value in (0, 25000, 1.5e6, 0.25, 1e-4, 1000)] == [
        "0",
        "25k",
        "1.5M",
        "0.25",
        "1e-4",
        "1000",
    ]


def test_scale_is_linear_or_logarithmic_and_may_run_backwards() -> None:
    assert Scale(0, 10, 100, 200)(5) == 150
    assert Scale(0, 10, 200, 100)(2.5) == 175
    assert Scale(1, 100, 0, 100, log=True)(10) == pytest.approx(50)
    assert (scale_for([3, 17], 0, 1).low, scale_for([3, 17], 0, 1).high) == (0, 20)
    for values in ([], [5.0], [0.0], [NAN], [7.0, 7.0]):
        for log in (False, True):
            scale = scale_for(values, 0, 1, log=log)
            assert scale.low < scale.high and scale.ticks()


def test_line_chart_places_points_and_breaks_at_gaps() -> None:
    drawing = line_chart({"a": [(0, 0), (1, 1), (2, NAN), (3, 0), (4, 1)]}, y_bounds=(0, 1), width=400, height=200)
    first, second = points(drawing)
    assert [len(first), len(second)] == [2, 2]
    assert first[0][1] > first[1][1]  # up is smaller y
    step = first[1][0] - first[0][0]
    assert second[0][0] == pytest.approx(first[0][0] + 3 * step, abs=0.2)
    assert second[1][0] == pytest.approx(400 - 16, abs=0.2)


def test_line_chart_marks() -> None:
    series = {"a": [(1.0, 2.0), (10.0, 4.0)], "b": [(1.0, 3.0)]}
    assert len(shapes(line_chart(series), "circle")) == 1  # a lone point would not be seen
    assert len(shapes(line_chart(series, marks="both"), "circle")) == 3
    assert len(shapes(line_chart(series, marks="points"), "polyline")) == 0
    assert "no data" in line_chart({"a": []}) and "no data" in line_chart({})


def test_bars_are_as_long_as_their_values() -> None:
    drawing = bar_chart(["a", "b", "c"], {"": [1.0, 4.0, NAN]}, width=500)
    bars = [float(bar.get("width", 0)) for bar in shapes(drawing, "rect", "bar")]
    assert len(bars) == 2
    assert bars[1] == pytest.approx(4 * bars[0], abs=0.1)
    with pytest.raises(ValueError, match="2 labels"):
        bar_chart(["a", "b"], {"": [1.0]})
    assert bar_chart([], {"": []}).startswith("<svg")
    logarithmic = [
        float(bar.get("width", 0)) for bar in shapes(bar_chart(["a", "b"], {"": [10, 100]}, log=True), "rect", "bar")
    ]
    assert logarithmic[1] == pytest.approx(2 * logarithmic[0], abs=0.1)


def test_histogram_counts() -> None:
    drawing = histogram([0, 1, 1, 4, 9, NAN, math.inf], bins=3, levels={"here": 5.0})
    bars = [float(bar.get("height", 0)) for bar in shapes(drawing, "rect", "bar")]
    assert bars[0] == pytest.approx(3 * bars[1], abs=0.1) and bars[1] == pytest.approx(bars[2])
    assert len(shapes(drawing, "line", "mark")) == 1
    for values in ([], [3.0], [0.0, -1.0]):
        assert histogram(values).startswith("<svg") and histogram(values, log=True).startswith("<svg")


def test_heat_map_cells() -> None:
    drawing = heat_map([[1.0, 0.0], [0.25, NAN]], ["r0", "r1"], ["c0", "c1"])
    opacity = [
        float(re.search(r"fill-opacity:([\d.]+)", cell.get("style", ""))[1]) for cell in shapes(drawing, "rect", "cell")
    ]  # type: ignore[index]
    assert opacity == [1.0, 0.0, 0.25]
    assert "r1 → c0: 0.25" in drawing


def test_large_heat_map_leaves_empty_cells_out() -> None:
    names = [f"class {index}" for index in range(80)]
    drawing = heat_map(np.eye(80), names, names, title="confusion")
    assert len(shapes(drawing, "rect", "cell")) == 80
    assert len(drawing) < 60_000
    assert heat_map(np.zeros((0, 0)), [], []).startswith("<svg")
