"""Every check passes on data in order and fails on the one thing it guards, telling expected and actual."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dagster import AssetCheckSeverity

from stock_weather_pipeline.checks import catalog, parquet, prod, raw
from stock_weather_pipeline.checks.results import Outcome, landed_days
from stock_weather_pipeline.datasets import STOCK_PRICES, STOCK_SPLITS, WEATHER
from stock_weather_pipeline.lake.interfaces import Lake, Scope
from stock_weather_pipeline.lake.layout import Layer, external_table
from stock_weather_pipeline.layers.audit import CHECKS, audit
from stock_weather_pipeline.layers.catalog import register
from stock_weather_pipeline.layers.parquet import type_days
from stock_weather_pipeline.layers.prod import publish
from stock_weather_pipeline.partitions import PartitionSet
from stock_weather_pipeline_tests.lakes import bar, files_of, hours, lake_of, land_prices, land_weather, put_csv

MONDAY, TUESDAY = date(2024, 6, 3), date(2024, 6, 4)
DAYS = [MONDAY, TUESDAY]


@pytest.fixture(params=["local", "aws"])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lake]:
    with lake_of(request.param, tmp_path / "lake") as opened:
        yield opened


@pytest.fixture
def published(lake: Lake) -> Lake:
    """Two sessions of NVDA, published, and the split table the suspicions look into."""
    land_prices(lake, DAYS)
    audit(lake, STOCK_PRICES, DAYS, type_days(lake, STOCK_PRICES, DAYS))
    publish(lake, STOCK_PRICES, DAYS, "run")
    lake.tables.ensure(STOCK_SPLITS)
    return lake


def failed(outcomes: Iterable[Outcome]) -> dict[str, Outcome]:
    return {outcome.name: outcome for outcome in outcomes if outcome.violations}


def test_data_in_order_passes_every_check_but_freshness(published: Lake) -> None:
    assert not failed(raw.judge(published, STOCK_PRICES, DAYS, ["NVDA"]))
    assert not failed(catalog.judge(published, STOCK_PRICES, DAYS))
    assert not failed(parquet.judge(published, STOCK_PRICES, DAYS))
    stale = failed(prod.judge(published, STOCK_PRICES, DAYS))
    assert stale["latest_day_present"].judged.numbers["days_behind"] > 365
    assert list(stale) == ["latest_day_present"], "the newest session is long after June 2024"
    assert stale["latest_day_present"].severity is AssetCheckSeverity.WARN
    assert stale["latest_day_present"].violations[0].actual == "2024-06-04"


def test_a_missing_raw_file_is_named(published: Lake) -> None:
    key = external_table(STOCK_PRICES, Layer.RAW).key(TUESDAY)
    published.objects.delete([key])
    outcome = failed(raw.judge(published, STOCK_PRICES, DAYS, ["NVDA"]))["file_there"]
    assert [(violation.day, violation.expected) for violation in outcome.violations] == [(TUESDAY, key)]


def test_a_day_with_too_few_hours_is_named(lake: Lake) -> None:
    land_weather(lake, [MONDAY], hours(MONDAY)[:-1])
    outcome = failed(raw.judge(lake, WEATHER, [MONDAY], ["New York"]))["rows_as_expected"]
    assert (outcome.violations[0].expected, outcome.violations[0].actual) == (
        "24 rows for each location",
        "23 for New York",
    )


def test_a_day_when_clocks_change_has_its_own_number_of_hours(lake: Lake) -> None:
    spring, autumn = date(2024, 3, 10), date(2024, 11, 3)
    for day in (spring, autumn):
        land_weather(lake, [day])
    assert not failed(raw.judge(lake, WEATHER, [spring, autumn], ["New York"]))


def test_a_ticker_absent_on_one_day_warns_and_on_every_day_fails(lake: Lake) -> None:
    land_prices(lake, [MONDAY], "NVDA", "AMD")
    land_prices(lake, [TUESDAY], "NVDA")
    late = failed(raw.judge(lake, STOCK_PRICES, DAYS, ["NVDA", "AMD"]))["entities_present"]
    assert (late.severity, [violation.day for violation in late.violations]) == (AssetCheckSeverity.WARN, [TUESDAY])
    unknown = failed(raw.judge(lake, STOCK_PRICES, DAYS, ["NVDA", "NVDIA"]))["entities_present"]
    assert unknown.severity is AssetCheckSeverity.ERROR
    assert unknown.violations[0].actual == "none for NVDIA: check the spelling, upper and lower case matter"


def test_a_changed_header_fails_raw_and_catalog(published: Lake) -> None:
    key = external_table(STOCK_PRICES, Layer.RAW).key(TUESDAY)
    published.objects.write(key, published.objects.read(key).replace(b"open", b"opening"))
    assert failed(raw.judge(published, STOCK_PRICES, DAYS, ["NVDA"]))["rows_as_expected"].violations[0].day == TUESDAY
    drift = failed(catalog.judge(published, STOCK_PRICES, DAYS))["files_match_contract"].violations
    assert [violation.day for violation in drift] == [TUESDAY]
    assert "open is missing" in drift[0].actual
    assert "'opening' is not in the contract" in drift[0].actual


def test_a_missing_catalog_entry_fails(lake: Lake) -> None:
    land_prices(lake, [MONDAY])
    outcome = failed(catalog.judge(lake, STOCK_PRICES, [MONDAY]))["table_matches_contract"]
    assert outcome.violations[0].actual == "no such table"


@pytest.mark.parametrize(
    ("check", "rows"),
    [
        ("quarantined_share", [bar(MONDAY, open="a lot")]),
        ("unique_key", [bar(MONDAY), bar(MONDAY, close="11.5")]),
    ],
)
def test_a_failed_audit_is_shown_with_a_sample(lake: Lake, check: str, rows: list[dict[str, object]]) -> None:
    put_csv(lake, STOCK_PRICES, MONDAY, rows)
    audit(lake, STOCK_PRICES, [MONDAY], type_days(lake, STOCK_PRICES, [MONDAY]))
    outcome = failed(parquet.judge(lake, STOCK_PRICES, [MONDAY]))[check]
    sample = json.loads(outcome.violations[0].sample or "")
    assert sample[0]["ticker"] == "NVDA"


@pytest.mark.parametrize(
    ("check", "change"),
    [
        ("required_not_null", {"ticker": None}),
        ("row_rules", {"low": 99.0}),
        ("rows_accounted", None),
    ],
)
def test_a_parquet_file_that_was_tampered_with_fails_the_audit(
    lake: Lake, check: str, change: dict[str, object] | None
) -> None:
    land_prices(lake, [MONDAY])
    type_days(lake, STOCK_PRICES, [MONDAY])
    (key,) = files_of(lake, external_table(STOCK_PRICES, Layer.PARQUET), MONDAY)
    table = pq.read_table(pa.BufferReader(lake.objects.read(key)))
    rows = [{**row, **change} for row in table.to_pylist()] if change else table.to_pylist() * 2
    schema = pa.schema([field.with_nullable(True) for field in STOCK_PRICES.arrow_schema])
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), buffer)
    lake.objects.write(key, buffer.getvalue().to_pybytes())
    audit(lake, STOCK_PRICES, [MONDAY], {})
    assert check in failed(parquet.judge(lake, STOCK_PRICES, [MONDAY]))


def test_a_day_that_was_never_audited_fails_every_parquet_check(lake: Lake) -> None:
    land_prices(lake, [MONDAY])
    type_days(lake, STOCK_PRICES, [MONDAY])
    outcomes = failed(parquet.judge(lake, STOCK_PRICES, [MONDAY]))
    assert set(outcomes) == set(CHECKS)
    assert outcomes["unique_key"].violations[0].actual == "the day was never audited"


def _overwrite(lake: Lake, rows: list[dict[str, object]]) -> None:
    table = pa.Table.from_pylist(rows, schema=STOCK_PRICES.arrow_schema)
    lake.tables.publish(STOCK_PRICES, lambda: (table, Scope(day_ranges=((MONDAY, TUESDAY),))), {})


def test_prod_that_differs_from_the_audited_rows_is_found(published: Lake) -> None:
    rows = published.tables.read(STOCK_PRICES, Scope()).to_pylist()
    _overwrite(published, [{**row, "close": 11.25} if row["trade_date"] == TUESDAY else row for row in rows])
    violations = failed(prod.judge(published, STOCK_PRICES, DAYS))["equals_parquet"].violations
    assert [(violation.day, violation.actual) for violation in violations] == [
        (TUESDAY, "1 rows missing, added or different")
    ]


def test_a_value_the_vendor_has_since_lost_is_no_difference(published: Lake) -> None:
    land_prices(published, DAYS, vwap=None)
    audit(published, STOCK_PRICES, DAYS, type_days(published, STOCK_PRICES, DAYS))
    publish(published, STOCK_PRICES, DAYS, "again")
    assert {row["vwap"] for row in published.tables.read(STOCK_PRICES, Scope()).to_pylist()} == {10.7}
    assert "equals_parquet" not in failed(prod.judge(published, STOCK_PRICES, DAYS))


def test_a_repeated_key_anywhere_in_the_table_is_found(published: Lake) -> None:
    rows = published.tables.read(STOCK_PRICES, Scope()).to_pylist()
    _overwrite(published, [*rows, rows[0]])
    outcome = failed(prod.judge(published, STOCK_PRICES, [TUESDAY]))["unique_key"]
    assert json.loads(outcome.violations[0].sample or "")[0]["copies"] == 2


def test_a_jump_without_a_split_warns_and_with_one_does_not(lake: Lake) -> None:
    prices = {MONDAY: "1200", TUESDAY: "120"}
    for day, price in prices.items():
        land_prices(lake, [day], open=price, high=price, low=price, close=price)
    audit(lake, STOCK_PRICES, DAYS, type_days(lake, STOCK_PRICES, DAYS))
    publish(lake, STOCK_PRICES, DAYS, "run")
    lake.tables.ensure(STOCK_SPLITS)
    jump = failed(prod.judge(lake, STOCK_PRICES, DAYS))["no_jump_without_split"]
    assert (jump.severity, jump.violations[0].day) == (AssetCheckSeverity.WARN, TUESDAY)
    assert {name: count for name, count in jump.judged.counts.items() if count} == {"below 0.667": 1}
    split = [{"ticker": "NVDA", "execution_date": TUESDAY, "split_from": 1.0, "split_to": 10.0}]
    table = pa.Table.from_pylist(split, schema=STOCK_SPLITS.arrow_schema)
    lake.tables.publish(STOCK_SPLITS, lambda: (table, Scope()), {})
    assert "no_jump_without_split" not in failed(prod.judge(lake, STOCK_PRICES, DAYS))


@pytest.mark.parametrize(
    ("before", "close", "where"),
    [("100", "150", "1.2 to 1.5"), ("150", "100", "0.667 to 0.8"), ("100", "100", "1 to 1.02")],
)
def test_a_change_at_the_limit_is_no_jump(lake: Lake, before: str, close: str, where: str) -> None:
    for day, price in {MONDAY: before, TUESDAY: close}.items():
        land_prices(lake, [day], open=price, high=price, low=price, close=price)
    audit(lake, STOCK_PRICES, DAYS, type_days(lake, STOCK_PRICES, DAYS))
    publish(lake, STOCK_PRICES, DAYS, "run")
    jump = next(o for o in prod.judge(lake, STOCK_PRICES, DAYS) if o.name == "no_jump_without_split")
    assert not jump.violations
    assert {name: count for name, count in jump.judged.counts.items() if count} == {where: 1}


def test_every_check_shows_what_it_judged(published: Lake) -> None:
    outcomes = [
        *raw.judge(published, STOCK_PRICES, DAYS, ["NVDA"]),
        *catalog.judge(published, STOCK_PRICES, DAYS),
        *parquet.judge(published, STOCK_PRICES, DAYS),
        *prod.judge(published, STOCK_PRICES, DAYS),
    ]
    judged = {outcome.name: dict(outcome.judged.counts) for outcome in outcomes}
    assert judged["file_there"] == {"a file": 2}
    assert judged["rows_as_expected"] == {"1 row": 2}
    assert judged["entities_present"] == {"1 present": 2}
    assert judged["files_match_contract"] == {"a file that fits": 2}
    assert judged["rows_accounted"] == {"1 = 1 parquet + 0 quarantined + 0 duplicates": 2}
    assert judged["equals_parquet"] == {"0 differing rows": 2}
    assert judged["unique_key"] == {"1 row": 2}
    assert all(sum(counts.values()) > 0 for counts in judged.values())


def test_a_check_executed_alone_judges_every_landed_day(published: Lake) -> None:
    land_weather(published, [date(2024, 6, 8)])
    assert landed_days(published, PartitionSet.SESSIONS) == [MONDAY, TUESDAY]
    assert landed_days(published, PartitionSet.DAYS) == [date(2024, 6, 8)]


@pytest.mark.parametrize("expected", [["NVDA", "AMD"], []])
def test_one_file_is_counted_like_several(lake: Lake, expected: list[str]) -> None:
    put_csv(lake, STOCK_PRICES, MONDAY, [bar(MONDAY), bar(MONDAY), bar(MONDAY, "IBM"), bar(MONDAY, "Z,\n'\"")])
    put_csv(lake, STOCK_PRICES, TUESDAY, [bar(TUESDAY)])
    register(lake, STOCK_PRICES)
    several = raw._rows_of_entities(lake, STOCK_PRICES, DAYS, expected)
    absent = raw._absent(lake, STOCK_PRICES, DAYS, expected)
    for day in DAYS:
        assert raw._rows_of_entities(lake, STOCK_PRICES, [day], expected)[day] == several[day]
        assert raw._absent(lake, STOCK_PRICES, [day], expected)[day] == absent[day]
