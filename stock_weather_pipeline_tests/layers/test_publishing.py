"""Audit and prod: a verdict per day that holds across runs, and only what passed is published."""

from __future__ import annotations

import io
import json
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlglot import exp

from stock_weather_pipeline.datasets import DATASETS, STOCK_PRICES, STOCK_SPLITS, WEATHER, Dataset
from stock_weather_pipeline.lake import dialect
from stock_weather_pipeline.lake.duckdb_engine import DuckDbEngine
from stock_weather_pipeline.lake.interfaces import Lake, Scope
from stock_weather_pipeline.lake.layout import Layer, external_table
from stock_weather_pipeline.layers import chunks
from stock_weather_pipeline.layers.audit import CHECKS, _metrics_sql, audit, verdicts
from stock_weather_pipeline.layers.parquet import type_days
from stock_weather_pipeline.layers.prod import Publication, publish
from stock_weather_pipeline.layers.raw import land
from stock_weather_pipeline.partitions import sessions
from stock_weather_pipeline_tests.lake.conftest import prices
from stock_weather_pipeline_tests.lakes import bar, data_files, fetched, hours, land_prices, put_csv, replace_files

DAYS = sessions(date(2024, 1, 8), date(2024, 1, 12))
DAY, NEXT = DAYS[0], DAYS[1]
PARQUET = external_table(STOCK_PRICES, Layer.PARQUET)


def through(lake: Lake, days: list[date], force: bool = False) -> Publication:
    audit(lake, STOCK_PRICES, days, type_days(lake, STOCK_PRICES, days))
    return publish(lake, STOCK_PRICES, days, "run", force)


def failed(lake: Lake, day: date) -> list[str]:
    return [finding.check for finding in verdicts(lake, STOCK_PRICES, [day])[day] if not finding.passed]


def prod(lake: Lake, columns: str = "ticker, trade_date, close") -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in lake.rows(f"SELECT {columns} FROM stock_prices ORDER BY trade_date, ticker")]


def rewrite(lake: Lake, day: date, *rows: dict[str, Any]) -> None:
    """Put Parquet rows there that the typing would never let through."""
    table = prices(*rows)
    lake.engine.write(PARQUET, table.append_column("partition_day", pa.array([day] * len(table), pa.date32())), [day])


def test_a_good_day_passes_every_check_and_the_verdict_is_kept(lake: Lake) -> None:
    land_prices(lake, DAYS)
    type_days(lake, STOCK_PRICES, DAYS)
    findings = audit(lake, STOCK_PRICES, DAYS, {})
    assert all(finding.passed for finding in findings)
    assert {(finding.day, finding.check) for finding in findings} == {(day, check) for day in DAYS for check in CHECKS}
    kept = verdicts(lake, STOCK_PRICES, DAYS)
    assert {day: set(found) for day, found in kept.items()} == {
        day: {finding for finding in findings if finding.day == day} for day in DAYS
    }


@pytest.mark.parametrize(
    ("rows", "check", "actual"),
    [
        ([{"trade_date": DAY, "close": 13.0}], "row_rules", "1 rows"),
        ([{"trade_date": NEXT}], "row_rules", "1 rows"),
        ([{"trade_date": DAY}, {"trade_date": DAY, "close": 10.5}], "unique_key", "2 rows"),
        ([{"trade_date": DAY}] * 3, "rows_accounted", "3 = 3 parquet + 0 quarantined + 0 duplicates"),
    ],
)
def test_what_is_wrong_with_stored_rows_is_found_with_a_sample(
    lake: Lake, rows: list[dict[str, Any]], check: str, actual: str
) -> None:
    land_prices(lake, [DAY, NEXT])
    type_days(lake, STOCK_PRICES, [DAY, NEXT])
    rewrite(lake, DAY, *rows)
    found = {(finding.day, finding.check): finding for finding in audit(lake, STOCK_PRICES, [DAY, NEXT], {})}
    finding = found[DAY, check]
    assert (finding.passed, finding.actual) == (False, actual)
    if check != "rows_accounted":
        assert json.loads(finding.sample or "")[0]["ticker"] == "NVDA"
    assert all(finding.passed for (day, _), finding in found.items() if day == NEXT)


@pytest.mark.parametrize("dataset", DATASETS.values(), ids=DATASETS)
def test_the_audit_reads_each_table_once(dataset: Dataset) -> None:
    """Athena reads, and bills, a table as often as a statement names it."""
    days = [None] if dataset.partition_set is None else DAYS
    named = dialect.parse(_metrics_sql(dataset, days)).find_all(exp.Table)
    tables = [external_table(dataset, layer) for layer in (Layer.PARQUET, Layer.QUARANTINE, Layer.RAW)]
    assert sorted((table.db, table.name) for table in named) == sorted((t.database, t.name) for t in tables)


def test_a_null_in_a_required_column_is_found(lake: Lake) -> None:
    land_prices(lake, [DAY])
    type_days(lake, STOCK_PRICES, [DAY])
    # Written past the engine, which would refuse it.
    schema = pa.schema([pa.field(column.name, column.type.arrow) for column in STOCK_PRICES.columns])
    row = {"ticker": "NVDA", "trade_date": DAY, "open": 10.0, "high": 12.0, "low": 9.0, "volume": 1.0}
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([row], schema=schema), buffer)
    replace_files(lake, PARQUET, DAY, buffer.getvalue())
    (finding,) = (finding for finding in audit(lake, STOCK_PRICES, [DAY], {}) if not finding.passed)
    assert (finding.check, finding.actual) == ("required_not_null", "1 rows")
    assert json.loads(finding.sample or "")[0]["close"] is None


def test_quarantined_rows_of_a_holiday_between_two_sessions_fail_neither(lake: Lake) -> None:
    friday, holiday, tuesday = date(2024, 1, 12), date(2024, 1, 15), date(2024, 1, 16)
    rows = [bar(day) for day in (friday, holiday, tuesday)]
    land(lake, STOCK_PRICES, [friday, tuesday], [fetched(STOCK_PRICES, rows, friday, tuesday)], None)
    result = through(lake, [friday, tuesday])
    assert (result.rows, result.refused) == ({friday: 1, tuesday: 1}, {})
    assert holiday in lake.engine.stored(external_table(STOCK_PRICES, Layer.QUARANTINE), [holiday])


def test_too_large_a_share_in_quarantine_fails_the_day(lake: Lake) -> None:
    put_csv(lake, STOCK_PRICES, DAY, [bar(DAY, f"A{n}") for n in range(99)] + [bar(DAY, close="x")])
    put_csv(lake, STOCK_PRICES, NEXT, [bar(NEXT, f"A{n}") for n in range(98)] + [bar(NEXT, close="x")])
    through(lake, [DAY, NEXT])
    assert failed(lake, DAY) == []
    assert failed(lake, NEXT) == ["quarantined_share"]
    (finding,) = (f for f in verdicts(lake, STOCK_PRICES, [NEXT])[NEXT] if not f.passed)
    assert (finding.expected, finding.actual) == ("at most 1.0% of the rows", "1.0% (1 of 99)")
    assert json.loads(finding.sample or "")[0]["reason"] == "close is not a number"


def test_a_verdict_is_void_once_the_parquet_is_another(lake: Lake) -> None:
    land_prices(lake, [DAY, NEXT])
    through(lake, [DAY, NEXT])
    rewrite(lake, DAY, {"trade_date": DAY, "close": 13.0})
    assert list(verdicts(lake, STOCK_PRICES, [DAY, NEXT])) == [NEXT]
    result = publish(lake, STOCK_PRICES, [DAY, NEXT], "run")
    assert "row_rules: expected 0 rows, found 1 rows" in result.refused[DAY]
    assert prod(lake) == [("NVDA", DAY, 11.0), ("NVDA", NEXT, 11.0)]


@pytest.mark.parametrize("broken", DAYS)
def test_a_corrupt_parquet_file_fails_its_day_alone(lake: Lake, broken: date) -> None:
    land_prices(lake, DAYS)
    type_days(lake, STOCK_PRICES, DAYS)
    replace_files(lake, PARQUET, broken, b"garbage")
    findings = [finding for finding in audit(lake, STOCK_PRICES, DAYS, {}) if not finding.passed]
    assert [(finding.day, finding.check) for finding in findings] == [(broken, "readable")]
    assert "is corrupt" in findings[0].actual
    result = publish(lake, STOCK_PRICES, DAYS, "run")
    assert set(result.refused) == {broken}
    assert [row[1] for row in prod(lake)] == [day for day in DAYS if day != broken]


def test_a_bad_day_is_refused_and_the_good_ones_are_published_in_one_commit(lake: Lake) -> None:
    land_prices(lake, DAYS)
    put_csv(lake, STOCK_PRICES, NEXT, [bar(NEXT, close="x")])
    lake.objects.write(external_table(STOCK_PRICES, Layer.RAW).key(DAYS[2]), b"")
    result = through(lake, DAYS)
    assert set(result.refused) == {NEXT, DAYS[2]}
    assert "is empty" in result.refused[DAYS[2]]
    assert result.rows == {DAY: 1, DAYS[3]: 1, DAYS[4]: 1}
    assert [row[1] for row in prod(lake)] == [DAY, DAYS[3], DAYS[4]]
    (published,) = lake.tables.history("stock_prices")
    assert published == result.publish
    assert (published.summary["run-id"], published.summary["day-count"]) == ("run", "3")
    assert published.summary["days"] == f"{DAY}..{DAY},{DAYS[3]}..{DAYS[4]}"


def test_a_day_that_is_as_it_should_be_costs_no_commit(lake: Lake) -> None:
    land_prices(lake, DAYS)
    first = through(lake, DAYS)
    assert first.changed == set(DAYS)
    again = through(lake, DAYS)
    assert (again.changed, again.publish, again.rows) == (set(), None, dict.fromkeys(DAYS, 1))
    land_prices(lake, [NEXT], close="10.9")
    third = through(lake, DAYS)
    assert third.changed == {NEXT}
    assert len(lake.tables.history("stock_prices")) == 2
    assert prod(lake)[:2] == [("NVDA", DAY, 11.0), ("NVDA", NEXT, 10.9)]


def test_a_null_never_overwrites_a_value(lake: Lake) -> None:
    land_prices(lake, [DAY])
    through(lake, [DAY])
    land_prices(lake, [DAY], vwap=None, transactions="1300")
    through(lake, [DAY])
    assert prod(lake, "vwap, transactions") == [(10.7, 1300)]
    land_prices(lake, [DAY], vwap=None, transactions=None)
    assert through(lake, [DAY]).changed == set()


def test_nulls_of_recent_hours_are_filled_later_and_stay_filled(lake: Lake) -> None:
    for temperature in (None, "5.5", None):
        put_csv(lake, WEATHER, DAY, hours(DAY, temperature_c=temperature))
        type_days(lake, WEATHER, [DAY])
        publish(lake, WEATHER, [DAY], "run")
    assert lake.rows("SELECT temperature_c, count(*) AS n FROM weather GROUP BY 1") == [{"temperature_c": 5.5, "n": 24}]
    assert len(lake.tables.history("weather")) == 2


def test_a_day_may_not_shrink_below_four_fifths_unless_forced(lake: Lake) -> None:
    land_prices(lake, [DAY, NEXT], *"ABCDE")
    through(lake, [DAY, NEXT])
    put_csv(lake, STOCK_PRICES, DAY, [bar(DAY, ticker) for ticker in "ABCD"])
    assert through(lake, [DAY]).rows == {DAY: 4}
    put_csv(lake, STOCK_PRICES, DAY, [bar(DAY, ticker) for ticker in "ABC"])
    result = through(lake, [DAY])
    assert result.refused == {
        DAY: "the day would shrink from 4 to 3 rows, below 80%; publish with force if that is right"
    }
    assert (result.rows, result.publish) == ({}, None)
    assert len(prod(lake)) == 9
    assert through(lake, [DAY], force=True).rows == {DAY: 3}
    assert len(prod(lake)) == 8


def test_force_never_lets_a_day_through_that_failed_its_audit(lake: Lake) -> None:
    put_csv(lake, STOCK_PRICES, DAY, [bar(DAY, close="x")])
    assert set(through(lake, [DAY], force=True).refused) == {DAY}
    assert not lake.tables.exists("stock_prices")


def test_a_dataset_without_partitions_is_published_whole(lake: Lake) -> None:
    split = {"ticker": "NVDA", "execution_date": "2024-06-10", "split_from": "1", "split_to": "10"}
    for rows, commits in (
        ([], 0),
        ([split, {**split, "ticker": "AAPL"}], 1),
        ([split, {**split, "ticker": "AAPL"}], 1),
    ):
        put_csv(lake, STOCK_SPLITS, None, rows)
        audit(lake, STOCK_SPLITS, [None], type_days(lake, STOCK_SPLITS, [None]))
        assert publish(lake, STOCK_SPLITS, [None], "run").refused == {}
        assert len(lake.tables.history("stock_splits")) == commits
        assert lake.rows("SELECT count(*) AS n FROM stock_splits") == [{"n": len(rows)}]
    put_csv(lake, STOCK_SPLITS, None, [split])
    type_days(lake, STOCK_SPLITS, [None])
    assert "shrink from 2 to 1 rows" in publish(lake, STOCK_SPLITS, [None], "run").refused[None]


def test_rows_that_are_twice_in_prod_are_repaired(lake: Lake) -> None:
    land_prices(lake, [DAY])
    row = {"trade_date": DAY, "open": 10.5, "volume": 1.5e6, "vwap": 10.7, "transactions": 1200}
    lake.tables.publish(STOCK_PRICES, lambda: (prices(row, row), Scope()), {})
    assert through(lake, [DAY], force=True).changed == {DAY}
    assert prod(lake) == [("NVDA", DAY, 11.0)]


def test_a_range_larger_than_memory_is_still_one_publish(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    days = [date(2024, 1, 30), date(2024, 1, 31), date(2024, 2, 1), date(2024, 3, 1), date(2024, 3, 4)]
    monkeypatch.setattr(chunks, "MOST_BYTES", 1)
    land_prices(lake, days, "NVDA", "AMD")
    assert [len(part) for part in chunks.by_size(lake, STOCK_PRICES, days)] == [2, 1, 2]
    done = through(lake, days)
    assert done.rows == dict.fromkeys(days, 2)
    assert [row[:2] for row in prod(lake)] == [(ticker, day) for day in days for ticker in ("AMD", "NVDA")]
    assert len(data_files(lake, "stock_prices")) == 3
    # One day of one month again: the others cost nothing, and one step back is the whole publish.
    land_prices(lake, days[2:3], "NVDA", "AMD", close="11.5")
    assert through(lake, days).changed == {days[2]}
    assert [row[2] for row in prod(lake)] == [11.0] * 4 + [11.5] * 2 + [11.0] * 4
    assert len(lake.tables.history("stock_prices")) == 2
    assert through(lake, days).changed == set()


def test_a_range_costs_a_handful_of_statements_not_one_for_each_day(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = sessions(date(2023, 1, 1), date(2023, 6, 30))
    land_prices(lake, days)
    statements: list[str] = []
    prepared = DuckDbEngine._prepared

    def counting(engine: DuckDbEngine, sql: str) -> Any:
        statements.append(sql)
        return prepared(engine, sql)

    monkeypatch.setattr(DuckDbEngine, "_prepared", counting)
    assert through(lake, days).refused == {}
    assert len(statements) < 10
    assert len(lake.tables.history("stock_prices")) == len(lake.tables.history("audits")) == 1
