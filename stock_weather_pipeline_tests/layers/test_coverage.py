"""What was asked of the vendor is noted as the fewest ranges."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stock_weather_pipeline.datasets import STOCK_PRICES
from stock_weather_pipeline.errors import LakeError
from stock_weather_pipeline.lake.interfaces import Lake
from stock_weather_pipeline.layers import coverage

START = date(2024, 1, 1)
RANGES = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 9)), max_size=15)


def days_in(ranges: list[tuple[date, date]]) -> set[date]:
    return {first + timedelta(days=n) for first, last in ranges for n in range((last - first).days + 1)}


@given(RANGES)
def test_merged_ranges_hold_the_same_days_and_do_not_touch(drawn: list[tuple[int, int]]) -> None:
    ranges = [(START + timedelta(days=n), START + timedelta(days=n + length)) for n, length in drawn]
    merged = coverage.merged(ranges)
    assert days_in(merged) == days_in(ranges)
    assert all(b[0] - a[1] > timedelta(days=1) for a, b in pairwise(merged))
    assert coverage.merged(merged) == merged


def test_what_was_asked_is_not_missing_any_more(lake: Lake) -> None:
    days = [START + timedelta(days=n) for n in range(5)]
    assert coverage.missing(lake, STOCK_PRICES, ["A", "B"], days[:1]) == {days[0]: ("A", "B")}
    coverage.add(lake, STOCK_PRICES, ["A"], days[0], days[2])
    coverage.add(lake, STOCK_PRICES, ["A", "B"], days[3], days[3])
    assert coverage.read(lake, STOCK_PRICES) == {"A": [(days[0], days[3])], "B": [(days[3], days[3])]}
    assert coverage.missing(lake, STOCK_PRICES, ["A", "B"], days) == {
        **dict.fromkeys(days[:3], ("B",)),
        days[4]: ("A", "B"),
    }


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"A": [["x", "y"]]}', b'{"A": 1}'])
def test_a_damaged_note_is_one_sentence(lake: Lake, content: bytes) -> None:
    lake.objects.write("coverage/stock_prices.json", content)
    with pytest.raises(LakeError, match=r"is damaged .*: delete it, then the days are asked of the vendor again"):
        coverage.read(lake, STOCK_PRICES)
