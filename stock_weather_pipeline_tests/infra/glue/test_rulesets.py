"""The committed rulesets are the contracts', and find what the contracts' rules find."""

from __future__ import annotations

import re
from datetime import date, datetime, timezone
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pyarrow as pa
import pytest

from infra.glue.rulesets import FOLDER, ruleset
from stock_weather_pipeline.datasets import DATASETS, STOCK_PRICES, WEATHER, Dataset

GOOD_BAR = {
    "ticker": "NVDA",
    "trade_date": date(2024, 6, 3),
    "open": 10.5,
    "high": 12.0,
    "low": 9.0,
    "close": 11.0,
    "volume": 1.5e6,
    "vwap": None,
    "transactions": None,
}
DAY = {"year": "2024", "month": "06", "day": "03"}


@pytest.mark.parametrize("dataset", DATASETS.values(), ids=lambda dataset: dataset.name)
def test_the_committed_rulesets_are_the_contracts(dataset: Dataset) -> None:
    committed = (FOLDER / f"{dataset.name}.dqdl").read_text(encoding="utf-8")
    assert committed == ruleset(dataset), "run `python -m infra.glue.rulesets`"


def test_there_is_a_ruleset_for_each_dataset_and_for_nothing_else() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == set(DATASETS)


def rules(dataset: Dataset) -> list[str]:
    text = ruleset(dataset).split("Rules = [\n", 1)[1].rsplit("\n]", 1)[0]
    return [line.strip().removesuffix(",") for line in text.splitlines()]


def broken(dataset: Dataset, *rows: dict[str, Any]) -> list[str]:
    """The rules that these rows break, as Glue documents the meaning of each kind of rule."""
    schema = dataset.arrow_schema
    for name in DAY:
        schema = schema.append(pa.field(name, pa.string()))
    nullable = pa.schema([field.with_nullable(True) for field in schema])
    table = pa.Table.from_pylist([{**DAY, **row} for row in rows], schema=nullable)
    with duckdb.connect() as connection:
        connection.register("given", table)
        # Spark's functions that DuckDB has under other names.
        connection.execute("CREATE MACRO double(text) AS CAST(text AS DOUBLE)")
        connection.execute("CREATE MACRO to_date(value) AS CAST(value AS DATE)")
        connection.create_function("from_utc_timestamp", _from_utc_timestamp, ["TIMESTAMP", "VARCHAR"], "TIMESTAMP")

        def counted(condition: str) -> int:
            found = connection.execute(f"SELECT count(*) FROM given WHERE {condition}").fetchone()
            assert found is not None
            return int(found[0])

        return [rule for rule in rules(dataset) if not _keeps(rule, counted, len(rows))]


def _from_utc_timestamp(utc: datetime, zone: str) -> datetime:
    return utc.replace(tzinfo=timezone.utc).astimezone(ZoneInfo(zone)).replace(tzinfo=None)


def _keeps(rule: str, counted: Any, total: int) -> bool:
    kind, _, rest = rule.partition(" ")
    names = re.findall(r'"([^"]*)"', rest)
    if kind == "RowCount":
        return total > 0
    if kind == "ColumnExists":
        return bool(counted(f"{names[0]} IS NULL OR TRUE") == total)
    if kind == "IsComplete":
        return not counted(f"{names[0]} IS NULL")
    if kind == "IsPrimaryKey":
        key = ", ".join(names)
        return not counted(f"({key}) IN (SELECT ({key}) FROM given GROUP BY {key} HAVING count(*) > 1)")
    if kind == "CustomSql":
        condition = names[0].split(" WHERE ", 1)[1]
        assert rest.endswith(" = 0")
        return not counted(condition)
    assert kind == "ColumnValues"
    where = names[-1] if " where " in rest else "TRUE"
    matched = re.search(r'" (>=|<=) ([0-9.-]+)', rest)
    holds = f"{names[0]} {matched[1]} {matched[2]}" if matched else f"regexp_full_match({names[0]}, '{names[1]}')"
    # NULL breaks a ColumnValues rule.
    return not counted(f"({where}) AND NOT coalesce({holds}, FALSE)")


def test_good_rows_keep_every_rule() -> None:
    assert broken(STOCK_PRICES, GOOD_BAR, {**GOOD_BAR, "ticker": "AAPL", "vwap": 1e9, "transactions": 7}) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ticker": "N V"}, 'ColumnValues "ticker" matches'),
        ({"close": None}, 'IsComplete "close"'),
        ({"open": 0.0, "low": 0.0}, 'ColumnValues "open" >= 0.000001'),
        ({"high": 1e13}, 'ColumnValues "high" <= 10000000'),
        ({"vwap": float("nan")}, "isnan(vwap)"),
        ({"volume": float("inf")}, "abs(volume) = double('Infinity')"),
        ({"transactions": -1}, 'ColumnValues "transactions" >= 0 where'),
        ({"low": 11.5}, "NOT (low <= open AND low <= close)"),
        ({"high": 10.0}, "NOT (high >= open AND high >= close)"),
        ({"trade_date": date(2024, 6, 4)}, "trade_date <> to_date"),
    ],
)
def test_a_bad_row_breaks_its_rule(change: dict[str, Any], words: str) -> None:
    found = broken(STOCK_PRICES, {**GOOD_BAR, **change}, {**GOOD_BAR, "ticker": "AAPL"})
    assert any(words in rule for rule in found), found
    assert len(found) <= 3


def test_a_repeated_key_breaks_the_primary_key() -> None:
    assert broken(STOCK_PRICES, GOOD_BAR, {**GOOD_BAR, "close": 10.0}) == ['IsPrimaryKey "ticker" "trade_date"']


@pytest.mark.parametrize(("hour", "fits"), [("2024-06-03T04:00", True), ("2024-06-04T03:00", True),
                                            ("2024-06-04T04:00", False), ("2024-06-03T03:00", False)])  # fmt: skip
def test_an_hour_belongs_to_its_day_in_new_york(hour: str, fits: bool) -> None:
    row = dict.fromkeys(WEATHER.column_names) | {"location": "New York", "observed_at": datetime.fromisoformat(hour)}
    row |= {name: 1 for name in WEATHER.required if name not in WEATHER.key}
    assert any("America/New_York" in rule for rule in broken(WEATHER, row)) is not fits
