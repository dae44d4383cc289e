from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stock_weather_pipeline.automation import work
from stock_weather_pipeline.automation.work import Key, all_work, chain_of, missing_work
from stock_weather_pipeline.datasets import STOCK_PRICES, WEATHER
from stock_weather_pipeline.lake.interfaces import Lake
from stock_weather_pipeline.layers import coverage
from stock_weather_pipeline.layers.audit import Finding
from stock_weather_pipeline.partitions import contiguous, sessions
from stock_weather_pipeline_tests.lakes import local_lake

if TYPE_CHECKING:
    from dagster import AssetKey, DagsterInstance

CHAIN = chain_of(STOCK_PRICES)
DAYS = sessions(date(2024, 6, 10), date(2024, 7, 9))  # with Juneteenth and Independence Day in between
PROD = CHAIN.index(("prod", "stock_prices"))


@dataclass
class Log:
    """What an event log answers about partitions."""

    materialized: dict[tuple[str, ...], set[str]]
    unfinished: dict[tuple[str, ...], dict[str, tuple[str, int]]]

    @property
    def event_log_storage(self) -> Log:
        return self

    def get_materialized_partitions(self, key: AssetKey) -> set[str]:
        return self.materialized.get(tuple(key.path), set())

    def get_latest_asset_partition_materialization_attempts_without_materializations(
        self, key: AssetKey
    ) -> dict[str, tuple[str, int]]:
        return self.unfinished.get(tuple(key.path), {})


def log_of(done: dict[date, int], failed: Iterable[tuple[date, Key]] = ()) -> DagsterInstance:
    """An instance on which each day has so many layers of the chain."""
    materialized = {key: {str(day) for day, layers in done.items() if layers > n} for n, key in enumerate(CHAIN)}
    unfinished: dict[tuple[str, ...], dict[str, tuple[str, int]]] = {}
    for day, key in failed:
        unfinished.setdefault(key, {})[str(day)] = ("run", 1)
    return cast("DagsterInstance", Log(cast("Any", materialized), unfinished))


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A lake for which every day was asked of NVDA."""
    lake = local_lake(tmp_path_factory.mktemp("lake"))
    coverage.add(lake, STOCK_PRICES, ["NVDA"], DAYS[0], DAYS[-1])
    return lake


states = st.fixed_dictionaries({day: st.integers(0, len(CHAIN)) for day in DAYS})
some_days = st.sets(st.sampled_from(DAYS))
relaxed = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@relaxed
@given(done=states, held_back=some_days, attempted=some_days)
def test_each_incomplete_day_is_in_one_gapless_run_from_its_first_missing_layer_and_none_is_tried_twice(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, done: dict[date, int], held_back: set[date], attempted: set[date]
) -> None:
    def verdicts(_lake: object, _dataset: object, days: list[date]) -> dict[date, list[Finding]]:
        return {day: [Finding(day, "row_rules", day not in held_back, "", "", "")] for day in days}

    monkeypatch.setattr(work, "verdicts", verdicts)
    # What other data alone can heal starts at raw.
    first = {day: 0 if n == PROD and day in held_back else n for day, n in done.items() if n < len(CHAIN)}
    tried = {(day, CHAIN[first[day]]) for day in attempted if day in first}

    planned = missing_work(log_of(done), lake, STOCK_PRICES, DAYS, ["NVDA"], tried)

    assert sorted(day for item in planned for day in item.days) == sorted(day for day in first if day not in attempted)
    for item in planned:
        assert item.entities is None
        assert {first[day] for day in item.days} == {len(CHAIN) - len(item.chain)}
        assert item.chain == CHAIN[-len(item.chain) :]
        assert item.dataset.partition_set is not None
        assert len(contiguous(item.days, item.dataset.partition_set)) == 1
    everything = tried | {(day, item.chain[0]) for item in planned for day in item.days}
    assert missing_work(log_of(done), lake, STOCK_PRICES, DAYS, ["NVDA"], everything) == []


@relaxed
@given(failed=st.sets(st.tuples(st.sampled_from(DAYS), st.sampled_from(CHAIN)), max_size=5))
def test_a_day_whose_newest_attempt_failed_is_missing_although_it_was_materialized_before(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, failed: set[tuple[date, Key]]
) -> None:
    monkeypatch.setattr(work, "verdicts", lambda *_: {})
    complete = log_of(dict.fromkeys(DAYS, len(CHAIN)), failed)
    planned = missing_work(complete, lake, STOCK_PRICES, DAYS, ["NVDA"])
    expected = {day: min(CHAIN.index(key) for other, key in failed if other == day) for day, _ in failed}
    assert {day: len(CHAIN) - len(item.chain) for item in planned for day in item.days} == expected


@given(wanted=some_days)
def test_repeating_goes_from_raw_over_exactly_the_days_in_gapless_runs(wanted: set[date]) -> None:
    planned = all_work(STOCK_PRICES, sorted(wanted))
    assert [day for item in planned for day in item.days] == sorted(wanted)
    assert all(item.chain == CHAIN and item.entities is None for item in planned)
    assert len(planned) == len(contiguous(wanted, STOCK_PRICES.partition_set)) if STOCK_PRICES.partition_set else True


def test_a_ticker_added_later_is_asked_for_alone_and_only_for_the_days_it_lacks(lake: Lake) -> None:
    complete = log_of(dict.fromkeys(DAYS, len(CHAIN)))
    (item,) = missing_work(complete, lake, STOCK_PRICES, DAYS[:5], ["NVDA", "AMD"])
    assert (item.entities, item.chain, item.days) == (("AMD",), CHAIN, tuple(DAYS[:5]))
    assert item.described == f"stock_prices of AMD {DAYS[0]}..{DAYS[4]}, every layer"


def test_the_whole_market_is_fetched_whole_where_it_was_not_asked_for(tmp_path: Path) -> None:
    lake = local_lake(tmp_path)
    complete = log_of(dict.fromkeys(DAYS, len(CHAIN)))
    (item,) = missing_work(complete, lake, STOCK_PRICES, DAYS, None)
    assert item.entities is None
    coverage.add(lake, STOCK_PRICES, ["*"], DAYS[0], DAYS[-1])
    assert missing_work(complete, lake, STOCK_PRICES, DAYS, None) == []


def test_the_chain_of_the_weather_has_no_view_of_the_sessions() -> None:
    assert chain_of(WEATHER)[-1] == ("views", "weather_daily")
    assert ("views", "stock_weather") in CHAIN
    assert ("views", "stock_weather") not in chain_of(WEATHER)
