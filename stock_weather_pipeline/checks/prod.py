"""Checks of the prod layer: what was published is what was audited, keys are unique, the newest day is there."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import date

import dagster as dg

from stock_weather_pipeline.checks.distributions import Distribution, bins, counted, n_rows
from stock_weather_pipeline.checks.results import Outcome, Violation, layer_checks
from stock_weather_pipeline.datasets import DATASETS, Dataset
from stock_weather_pipeline.datasets.contract import Suspicion
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
    yield _equality(lake, dataset, days)
    yield _uniqueness(lake, dataset)
    if dataset.partition_set is not None:
        yield _currency(lake, dataset, last_closed_day(dataset.partition_set))
    for suspicion in dataset.suspicions:
        yield _suspected(lake, suspicion, days)


def _equality(lake: Lake, dataset: Dataset, days: Sequence[Day]) -> Outcome:
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
    violations = [
        Violation(row["day"], "0 differing rows", f"{row['row_count']} rows missing, added or different")
        for row in sorted(rows, key=lambda row: str(row["day"]))
    ]
    differing = {row["day"]: row["row_count"] for row in rows}
    found = counted("days", (f"{count} differing rows" for count in {**dict.fromkeys(days, 0), **differing}.values()))
    return Outcome("equals_parquet", "0 differing rows", found, violations)


def _uniqueness(lake: Lake, dataset: Dataset) -> Outcome:
    key = ", ".join(dataset.key)
    keys = f"SELECT {key}, count(*) AS copies FROM {PROD_DATABASE}.{dataset.name} GROUP BY {key}"
    counts = {
        row["copies"]: row["keys"]
        for row in lake.rows(f"SELECT copies, count(*) AS keys FROM ({keys}) GROUP BY copies ORDER BY copies")
    }
    found = Distribution("keys", {n_rows(copies): amount for copies, amount in counts.items()})
    violations = []
    if set(counts) - {1}:
        rows = lake.rows(f"{keys} HAVING count(*) > 1 ORDER BY {key} LIMIT 5")
        violations.append(Violation(None, "0 repeated keys", f"{rows[0]}", json.dumps(rows, default=str)))
    return Outcome("unique_key", "0 repeated keys", found, violations)


def _currency(lake: Lake, dataset: Dataset, expected: date) -> Outcome:
    rows = lake.rows(f"SELECT max({dataset.day_sql}) AS newest FROM {PROD_DATABASE}.{dataset.name}")
    newest = rows[0]["newest"] if rows else None
    behind = {"days_behind": max((expected - newest).days, 0)} if newest else {}
    found = Distribution("tables", {f"newest day {newest}" if newest else "an empty table": 1}, behind)
    current = newest is not None and newest >= expected
    violations = [] if current else [Violation(expected, str(expected), str(newest or "an empty table"))]
    return Outcome("latest_day_present", "the newest day", found, violations, _WARN)


def _suspected(lake: Lake, suspicion: Suspicion, days: Sequence[Day]) -> Outcome:
    from stock_weather_pipeline.lake.dialect import parse, table_references

    for _, name in table_references(parse(suspicion.sql)):
        # On a fresh home a reference table may not have been published yet.
        lake.tables.ensure(DATASETS[name])
    known = [day for day in days if day is not None]
    measured = (
        f"SELECT * FROM ({suspicion.sql}) "
        f"WHERE partition_day BETWEEN DATE '{min(known)}' AND DATE '{max(known)}' AND measure IS NOT NULL"
    )
    edges = [f"{edge:.17e}" for edge in suspicion.edges]
    cases = " ".join(f"WHEN measure < {edge} THEN {n}" for n, edge in enumerate(edges))
    # A value on the outermost edge is still inside.
    bin_sql = f"CASE {cases} WHEN measure = {edges[-1]} THEN {len(edges) - 1} ELSE {len(edges)} END"
    counts = {
        row["bin"]: row["row_count"]
        for row in lake.rows(
            f"SELECT bin, count(*) AS row_count FROM (SELECT {bin_sql} AS bin FROM ({measured})) GROUP BY bin"
        )
    }
    names = bins(suspicion.edges)
    found = Distribution(suspicion.unit, {name: counts.get(n, 0) for n, name in enumerate(names)} if counts else {})
    violations = []
    if counts.get(0) or counts.get(len(edges)):
        rows = lake.rows(
            f"SELECT * FROM ({measured}) WHERE measure < {edges[0]} OR measure > {edges[-1]} "
            "ORDER BY partition_day LIMIT 100"
        )
        for row in rows:
            day = row.pop("partition_day")
            violations.append(Violation(day, "nothing suspicious", str(row), json.dumps([row], default=str)))
    return Outcome(suspicion.name, suspicion.description, found, violations, _WARN)
