from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import pytest

from stock_weather_pipeline.datasets import STOCK_PRICES, WEATHER
from stock_weather_pipeline.errors import LakeError
from stock_weather_pipeline.lake.interfaces import Lake
from stock_weather_pipeline.layers import fetches
from stock_weather_pipeline_tests.lakes import local_lake

MONDAY, FRIDAY = date(2024, 3, 11), date(2024, 3, 15)
NOON = datetime(2024, 3, 16, 12, tzinfo=timezone.utc)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return local_lake(tmp_path)


def _latest(lake: Lake, entity: str, day: date) -> str:
    return fetches.latest(fetches.read(lake, STOCK_PRICES), entity, day)


def test_the_newest_fetch_of_an_entity_and_day_is_known(lake: Lake) -> None:
    fetches.note(lake, STOCK_PRICES, ["NVDA"], MONDAY, FRIDAY, NOON)
    fetches.note(lake, STOCK_PRICES, None, MONDAY, MONDAY, NOON - timedelta(hours=1))
    fetches.note(lake, WEATHER, None, MONDAY, FRIDAY, NOON + timedelta(hours=1))
    assert _latest(lake, "NVDA", MONDAY) == "2024-03-16T12:00:00"
    assert _latest(lake, "AMD", MONDAY) == "2024-03-16T11:00:00"
    assert _latest(lake, "AMD", FRIDAY) == ""


def test_many_notes_are_folded_into_one_that_stands_for_all_days(lake: Lake) -> None:
    for hour in range(3 * fetches.MOST_NOTES):
        fetches.note(lake, STOCK_PRICES, ["NVDA"], MONDAY, MONDAY, NOON + timedelta(hours=hour))
        assert len(lake.objects.list("fetches/")) <= fetches.MOST_NOTES
    newest = NOON + timedelta(hours=3 * fetches.MOST_NOTES - 1)
    assert _latest(lake, "NVDA", MONDAY) == newest.replace(tzinfo=None).isoformat()
    # Of days whose notes are gone nothing replaces a row that is older than the oldest note left.
    assert NOON.replace(tzinfo=None).isoformat() < _latest(lake, "AMD", FRIDAY) < _latest(lake, "NVDA", MONDAY)


def test_a_damaged_note_is_told_with_what_to_do(lake: Lake) -> None:
    lake.objects.write("fetches/stock_prices/2024-03-16T12:00:00-0.json", b"{")
    with pytest.raises(LakeError, match=r"is damaged .* delete it"):
        fetches.read(lake, STOCK_PRICES)
