from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from stock_weather_pipeline.automation.work import Work, chain_of
from stock_weather_pipeline.commands import capacity
from stock_weather_pipeline.commands.capacity import Need, Room, room, warnings
from stock_weather_pipeline.datasets import STOCK_PRICES, WEATHER
from stock_weather_pipeline.layers.chunks import MOST_BYTES
from stock_weather_pipeline.partitions import PartitionSet
from stock_weather_pipeline.sandbox import Sandbox
from stock_weather_pipeline.sources.base import FetchPlan
from stock_weather_pipeline_tests.homes import Home

YEARS = tuple(PartitionSet.SESSIONS.days(date(2019, 1, 2), date(2023, 12, 29)))
MARKET = Work(STOCK_PRICES, YEARS, chain_of(STOCK_PRICES))
PLAN = FetchPlan(len(YEARS), 0.0, "")
ENDLESS = Room(10**15, 10**15)


def need(work: Work, plan: FetchPlan, entities: int, lake_is_here: bool = True) -> Need:
    return capacity.need(work, plan, entities, lake_is_here=lake_is_here)


def test_rows_are_those_of_every_entity_on_every_day() -> None:
    assert need(MARKET, PLAN, 11_000).rows == 11_000 * len(YEARS)
    clock_change = Work(WEATHER, (date(2024, 3, 10), date(2024, 3, 11)), chain_of(WEATHER))
    assert need(clock_change, PLAN, 2).rows == 2 * (23 + 24)


def test_a_longer_range_and_more_entities_never_need_less() -> None:
    small = need(Work(STOCK_PRICES, YEARS[:10], MARKET.chain), PLAN, 1)
    for larger in (need(Work(STOCK_PRICES, YEARS[:20], MARKET.chain), PLAN, 1), need(MARKET, PLAN, 500)):
        assert larger.disk_bytes > small.disk_bytes
        assert larger.memory_bytes > small.memory_bytes


def test_memory_is_that_of_a_part_however_long_the_range_is() -> None:
    year, years = (need(Work(STOCK_PRICES, days, MARKET.chain), PLAN, 11_000) for days in (YEARS[:252], YEARS))
    assert years.rows > 4 * year.rows
    assert years.memory_bytes == year.memory_bytes < 1_500_000_000
    assert years.rows_at_once * capacity.RAW_BYTES_PER_ROW <= MOST_BYTES


def test_a_month_that_is_larger_than_a_part_is_one_part() -> None:
    day = Work(STOCK_PRICES, YEARS[:1], MARKET.chain)
    assert need(day, PLAN, 5_000_000).rows_at_once == 5_000_000
    assert need(MARKET, PLAN, 50_000).rows_at_once == 50_000 * 23


def test_what_goes_to_s3_takes_no_disk_here() -> None:
    here, there = (need(MARKET, PLAN, 11_000, lake_is_here=here) for here in (True, False))
    assert here.disk_bytes > 2_000_000_000
    assert there.disk_bytes == capacity.DAGSTER_BYTES_PER_PARTITION * len(YEARS) * len(MARKET.chain)
    assert (there.rows, there.memory_bytes) == (here.rows, here.memory_bytes)


def test_what_fits_is_not_warned_of() -> None:
    assert list(warnings(MARKET, need(MARKET, PLAN, 11_000), ENDLESS)) == []
    assert list(warnings(MARKET, need(MARKET, PLAN, 11_000), Room(None, None))) == []


def test_a_plan_longer_than_a_run_may_take_says_so() -> None:
    (sentence,) = warnings(MARKET, need(MARKET, replace(PLAN, minutes=2520.0), 1), ENDLESS)
    assert "2019-01-02..2023-12-29 takes about 42 hours at this quota" in sentence
    assert "STOCK_WEATHER_POLYGON_CALLS_PER_MINUTE" in sentence


def test_a_disk_that_is_too_small_is_told_with_both_sizes() -> None:
    (sentence,) = warnings(MARKET, Need(1, 1, 5_000_000_000, 0, 0.0), replace(ENDLESS, disk_bytes=20_000_000))
    assert "needs about 5.0 GB of disk and 20 MB are free" in sentence
    assert "STOCK_WEATHER_HOME" in sentence


def test_memory_that_is_too_small_is_told_with_a_range_that_fits() -> None:
    needed = need(MARKET, PLAN, 11_000)
    there = replace(ENDLESS, memory_bytes=needed.memory_bytes * 3 // 4)
    (sentence,) = warnings(MARKET, needed, there)
    days = int(sentence.rpartition("at most ")[2].partition(" ")[0])
    fits = Work(STOCK_PRICES, YEARS[:days], MARKET.chain)
    assert list(warnings(fits, need(fits, PLAN, 11_000), there)) == []
    one_more = Work(STOCK_PRICES, YEARS[: days + 1], MARKET.chain)
    assert list(warnings(one_more, need(one_more, PLAN, 11_000), there))


def test_no_range_fits_where_not_even_the_program_does() -> None:
    (sentence,) = warnings(MARKET, need(MARKET, PLAN, 11_000), replace(ENDLESS, memory_bytes=1000))
    assert sentence.endswith("run fewer tickers.")


def test_the_room_of_a_folder_that_is_not_there_yet_is_that_of_its_disk(tmp_path: Path) -> None:
    found = room(tmp_path / "home" / "local")
    assert found.disk_bytes is not None
    assert found.disk_bytes > 0
    assert found.memory_bytes is None or found.memory_bytes > 0


def test_run_warns_before_a_plan_that_does_not_fit_and_runs_it(
    tmp_path: Path, vendor: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path, vendor.url)
    monkeypatch.setattr(capacity, "room", lambda _folder: Room(1000, None))
    result = home.invoke("run", "--only", "weather", "--start", "2024-06-03", "--end", "2024-06-03")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    warned = next(n for n, line in enumerate(lines) if line.startswith("warning weather 2024-06-03..2024-06-03 needs"))
    assert warned < next(n for n, line in enumerate(lines) if line.startswith("weather 2024-06-03..2024-06-03, every"))
