"""What the UI shows of rows stays small, survives any value, and draws what is there and nothing else."""

from __future__ import annotations

import base64
import re
from typing import Any
from xml.etree import ElementTree

import pytest

from stock_weather_pipeline.assets.previews import chart, last_rows, numbers
from stock_weather_pipeline.views import VIEWS

SVG = "{http://www.w3.org/2000/svg}"


def drawn(markdown: str | None) -> ElementTree.Element:
    found = re.fullmatch(r"!\[[^\[\]]*\]\(data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)\)", markdown or "")
    assert found
    return ElementTree.fromstring(base64.b64decode(found[1]))


def line_of(values: list[float | None]) -> str:
    rows = [{"close": value} for value in values]
    path = drawn(chart("NVDA", rows, {"close": "USD"}).value).find(f"{SVG}path")
    assert path is not None
    return path.attrib["d"]


def test_a_table_of_rows_survives_pipes_and_nulls() -> None:
    assert last_rows([{"a": "x|y", "b": None}]).value == "| a | b |\n| --- | --- |\n| x\\|y |  |"
    assert last_rows([]).value == "no rows"


def test_a_table_of_rows_shows_the_last_ones() -> None:
    lines = (last_rows([{"n": n} for n in range(100)]).value or "").splitlines()
    assert lines[2:] == ["| 95 |", "| 96 |", "| 97 |", "| 98 |", "| 99 |"]


def test_a_line_goes_from_left_to_right_and_up_where_values_rise() -> None:
    points = [(int(x), int(y)) for x, y in re.findall(r"(\d+) (\d+)", line_of([1.0, 3.0, 2.0]))]
    assert points[0] == points[1]
    (left, low), (middle, high), (right, between) = points[1:]
    assert left < middle < right
    assert high < between < low


def test_a_null_leaves_a_gap_and_no_value_draws_nothing() -> None:
    assert line_of([1.0, 2.0, None, 3.0, 4.0]).count("M") == 2
    assert line_of([None, None]) == ""


@pytest.mark.parametrize("values", [[5.0], [5.0, 5.0]])
def test_a_single_and_a_constant_value_are_drawn_in_the_middle(values: list[float | None]) -> None:
    heights = {y for _, y in re.findall(r"(\d+) (\d+)", line_of(values))}
    assert len(heights) == 1


def test_the_chart_says_in_words_what_it_shows() -> None:
    value = chart("A<B> [1]", [{"close": 1.25, "sma": None}], {"close": "USD", "sma": "USD"}).value or ""
    assert value.startswith("![A<B> (1): close 1.25, sma empty](")
    texts = [text.text for text in drawn(value).iter(f"{SVG}text")]
    assert texts == ["A<B> [1]", "close", "1.25 USD", "sma", "empty"]


def test_a_chart_stays_small_however_many_rows_and_columns_there_are() -> None:
    units = {f"column_{n}": "USD" for n in range(100)}
    rows: list[dict[str, Any]] = [dict.fromkeys(units, row * 7919 % 1000 / 7) for row in range(5000)]
    markdown = chart("NVDA", rows, units).value or ""
    assert len(drawn(markdown).findall(f"{SVG}path")) == 12
    assert len(markdown) < 16_000


def test_numbers_are_the_quantities_that_are_there() -> None:
    row = {"ticker": "NVDA", "close": 1.5, "sma_7": None}
    assert numbers(row, {"close": "USD", "sma_7": "USD"}) == {"close": 1.5}


@pytest.mark.parametrize("name", VIEWS)
def test_every_view_has_quantities_to_draw(name: str) -> None:
    assert VIEWS[name].units
    assert not set(VIEWS[name].units) & set(VIEWS[name].key)
