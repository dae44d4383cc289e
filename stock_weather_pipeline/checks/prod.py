"""Checks of the prod layer: what was published is what was audited, keys are unique, the newest day is there."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import dagster as dg

from stock_weather_pipeline.checks.results import Outcome, Violation, layer_checks
from stock_weather_pipeline.datasets import DATASETS, Dataset
from stock_weather_pipeline.lake.interfaces import Lake
from stock_weather_pipeline.lake.layout import PROD_DATABASE, Day
from stock_weather_pipeline.layers.prod import parquet_rows_sql, prod_rows_sql
from stock_weather_pipeline.partitions import last_closed_day

_WARN = dg.AssetCheckSeverity.WARN


def prod_checks(dataset: Dataset) -> dg.AssetChecksDefinition:
    """The checks of `prod/<dataset>`."""
    descriptions = {
        "equals_parquet": "Prod has exactly the audited rows of the day; a value the vendor has since lost is kept.",
        "unique_key": "No two rows of the whole table share a key.",
    }
    if dataset.partition_set is not None:
        descriptions["latest_day_present"] = "The newest day that has closed in New York is in the table."
    descriptions.update({suspicion.name: suspicion.description for suspicion in dataset.suspicions})

    def judged(lake: Lake, days: Sequence[Day]) -> Iterator[Outcome]:
        return judge(lake, dataset, days)

    return layer_checks(["prod", dataset.name], descriptions, dataset.partition_set, judged)


def judge(lake: Lake, dataset: Dataset, days: Sequence[Day]) -> Iterator[Outcome]:
    """The outcome of every check of the layer on these days."""
    yield Outcome("equals_parquet", "0 differing rows", list(_differences(lake, dataset, days)))
    yield Outcome("unique_key", "0 repeated keys", list(_repeated_keys(lake, dataset)))
    if dataset.partition_set is not None:
        yield Outcome("latest_day_present", "the newest day", list(_stale(lake, dataset)), _WARN)
    for suspicion in dataset.suspicions:
        yield Outcome(suspicion.name, suspicion.description, list(_suspicious(lake, suspicion.sql, days)), _WARN)


def _differences(lake: Lake, dataset: Dataset, days: Sequence[Day]) -> Iterator[Violation]:
    same_key = " AND ".join(f"audited.{name} = published.{name}" for name in dataset.key)
    differs = " OR ".join(
        f"audited.{name} <> published.{name} OR (audited.{name} IS NOT NULL AND published.{name} IS NULL)"
        for name in dataset.column_names
        if name not in dataset.key
    )
    one = dataset.key[0]
    rows = lake.rows(
        "SELECT coalesce(audited.partition_day, published.partition_day) AS day, count(*) AS row_count "
        f"FROM ({parquet_rows_sql(dataset, days)}) audited "
        f"FULL JOIN ({prod_rows_sql(dataset, days)}) published ON {same_key} "
        f"WHERE audited.{one} IS NULL OR published.{one} IS NULL OR {differs} "
        "GROUP BY coalesce(audited.partition_day, published.partition_day)"
    )
    for row in sorted(rows, key=lambda row: str(row["day"])):
        yield Violation(row["day"], "0 differing rows", f"{row['row_count']} rows missing, added or different")


def _repeated_keys(lake: Lake, dataset: Dataset) -> Iterator[Violation]:
    key = ", ".join(dataset.key)
    rows = lake.rows(
        f"SELECT {key}, count(*) AS copies FROM {PROD_DATABASE}.{dataset.name} GROUP BY {key} HAVING count(*) > 1 "
        f"ORDER BY {key} LIMIT 5"
    )
    if rows:
        yield Violation(None, "0 repeated keys", f"{rows[0]}", json.dumps(rows, default=str))


def _stale(lake: Lake, dataset: Dataset) -> Iterator[Violation]:
    assert dataset.partition_set is not None
    expected = last_closed_day(dataset.partition_set)
    rows = lake.rows(f"SELECT max({dataset.day_sql}) AS newest FROM {PROD_DATABASE}.{dataset.name}")
    newest = rows[0]["newest"] if rows else None
    if newest is None or newest < expected:
        yield Violation(expected, str(expected), str(newest or "an empty table"))


def _suspicious(lake: Lake, sql: str, days: Sequence[Day]) -> Iterator[Violation]:
    from stock_weather_pipeline.lake.dialect import parse, table_references

    for _, name in table_references(parse(sql)):
        # On a fresh home a reference table may not have been published yet.
        lake.tables.ensure(DATASETS[name])
    known = [day for day in days if day is not None]
    rows = lake.rows(
        f"SELECT * FROM ({sql}) WHERE partition_day BETWEEN DATE '{min(known)}' AND DATE '{max(known)}' "
        "ORDER BY partition_day LIMIT 100"
    )
    for row in rows:
        day = row.pop("partition_day")
        yield Violation(day, "nothing suspicious", str(row), json.dumps([row], default=str))
