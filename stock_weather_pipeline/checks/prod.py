"""Checks of the prod layer: what was published is what was audited, keys are unique, the newest day is there."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import NamedTuple

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
    found = _measured(lake, dataset, days)
    yield _equality(found["equals_parquet"], days)
    yield _uniqueness(lake, dataset, found["unique_key"])
    if dataset.partition_set is not None:
        yield _currency(found["latest_day_present"], last_closed_day(dataset.partition_set))
    for suspicion in dataset.suspicions:
        yield _suspected(lake, suspicion, days, found[suspicion.name])


class _Amount(NamedTuple):
    """How many there are of what a check counts: of a `day`, or of a `number` (of copies, of a bin)."""

    day: Day
    number: int | None
    amount: int | None


def _measured(lake: Lake, dataset: Dataset, days: Sequence[Day]) -> Mapping[str, list[_Amount]]:
    """What every check judges, by its name. One query: each has its price and its latency, however little it reads."""
    from stock_weather_pipeline.lake.dialect import parse, table_references

    for suspicion in dataset.suspicions:
        for _, name in table_references(parse(suspicion.sql)):
            # On a fresh home a reference table may not have been published yet.
            lake.tables.ensure(DATASETS[name])
    measures = {"equals_parquet": _equality_sql(dataset, days), "unique_key": _uniqueness_sql(dataset)}
    if dataset.partition_set is not None:
        measures["latest_day_present"] = (
            f"SELECT max({dataset.day_sql}) AS day, NULL AS number, NULL AS amount FROM {PROD_DATABASE}.{dataset.name}"
        )
    measures.update({suspicion.name: _suspicion_sql(suspicion, days) for suspicion in dataset.suspicions})
    found: dict[str, list[_Amount]] = {name: [] for name in measures}
    rows = lake.rows(
        " UNION ALL ".join(
            f"SELECT '{name}' AS check_name, CAST(day AS DATE) AS day, CAST(number AS BIGINT) AS number, "
            f"CAST(amount AS BIGINT) AS amount FROM ({sql})"
            for name, sql in measures.items()
        )
    )
    for row in rows:
        found[row["check_name"]].append(_Amount(row["day"], row["number"], row["amount"]))
    return found


def _equality_sql(dataset: Dataset, days: Sequence[Day]) -> str:
    same_key = " AND ".join(f"audited.{name} = published.{name}" for name in dataset.key)
    differs = " OR ".join(
        f"audited.{name} <> published.{name} OR (audited.{name} IS NOT NULL AND published.{name} IS NULL)"
        for name in dataset.column_names
        if name not in dataset.key
    )
    one = dataset.key[0]
    return (
        "SELECT coalesce(audited.partition_day, published.partition_day) AS day, NULL AS number, count(*) AS amount "
        f"FROM ({parquet_rows_sql(dataset, days)}) audited "
        f"FULL JOIN ({prod_rows_sql(dataset, days)}) published ON {same_key} "
        f"WHERE audited.{one} IS NULL OR published.{one} IS NULL OR {differs} "
        "GROUP BY coalesce(audited.partition_day, published.partition_day)"
    )


def _equality(found: Sequence[_Amount], days: Sequence[Day]) -> Outcome:
    differing = {of_day.day: of_day.amount for of_day in sorted(found, key=lambda of_day: str(of_day.day))}
    violations = [
        Violation(day, "0 differing rows", f"{count} rows missing, added or different")
        for day, count in differing.items()
    ]
    judged = counted("days", (f"{count} differing rows" for count in {**dict.fromkeys(days, 0), **differing}.values()))
    return Outcome("equals_parquet", "0 differing rows", judged, violations)


def _copies_sql(dataset: Dataset) -> str:
    key = ", ".join(dataset.key)
    return f"SELECT {key}, count(*) AS copies FROM {PROD_DATABASE}.{dataset.name} GROUP BY {key}"


def _uniqueness_sql(dataset: Dataset) -> str:
    return f"SELECT NULL AS day, copies AS number, count(*) AS amount FROM ({_copies_sql(dataset)}) GROUP BY copies"


def _uniqueness(lake: Lake, dataset: Dataset, found: Sequence[_Amount]) -> Outcome:
    counts = {
        of_copies.number or 0: of_copies.amount or 0 for of_copies in sorted(found, key=lambda one: one.number or 0)
    }
    judged = Distribution("keys", {n_rows(copies): amount for copies, amount in counts.items()})
    violations = []
    if set(counts) - {1}:
        rows = lake.rows(f"{_copies_sql(dataset)} HAVING count(*) > 1 ORDER BY {', '.join(dataset.key)} LIMIT 5")
        violations.append(Violation(None, "0 repeated keys", f"{rows[0]}", json.dumps(rows, default=str)))
    return Outcome("unique_key", "0 repeated keys", judged, violations)


def _currency(found: Sequence[_Amount], expected: date) -> Outcome:
    newest = found[0].day if found else None
    behind = {"days_behind": max((expected - newest).days, 0)} if newest else {}
    judged = Distribution("tables", {f"newest day {newest}" if newest else "an empty table": 1}, behind)
    current = newest is not None and newest >= expected
    violations = [] if current else [Violation(expected, str(expected), str(newest or "an empty table"))]
    return Outcome("latest_day_present", "the newest day", judged, violations, _WARN)


def _measure_sql(suspicion: Suspicion, days: Sequence[Day]) -> str:
    known = [day for day in days if day is not None]
    return (
        f"SELECT * FROM ({suspicion.sql}) "
        f"WHERE partition_day BETWEEN DATE '{min(known)}' AND DATE '{max(known)}' AND measure IS NOT NULL"
    )


def _suspicion_sql(suspicion: Suspicion, days: Sequence[Day]) -> str:
    edges = [f"{edge:.17e}" for edge in suspicion.edges]
    cases = " ".join(f"WHEN measure < {edge} THEN {n}" for n, edge in enumerate(edges))
    # A value on the outermost edge is still inside.
    bin_sql = f"CASE {cases} WHEN measure = {edges[-1]} THEN {len(edges) - 1} ELSE {len(edges)} END"
    return (
        "SELECT NULL AS day, bin AS number, count(*) AS amount "
        f"FROM (SELECT {bin_sql} AS bin FROM ({_measure_sql(suspicion, days)})) GROUP BY bin"
    )


def _suspected(lake: Lake, suspicion: Suspicion, days: Sequence[Day], found: Sequence[_Amount]) -> Outcome:
    counts = {of_bin.number: of_bin.amount or 0 for of_bin in found}
    names = bins(suspicion.edges)
    judged = Distribution(suspicion.unit, {name: counts.get(n, 0) for n, name in enumerate(names)} if counts else {})
    violations = []
    if counts.get(0) or counts.get(len(suspicion.edges)):
        low, high = (f"{suspicion.edges[n]:.17e}" for n in (0, -1))
        rows = lake.rows(
            f"SELECT * FROM ({_measure_sql(suspicion, days)}) WHERE measure < {low} OR measure > {high} "
            "ORDER BY partition_day LIMIT 100"
        )
        for row in rows:
            day = row.pop("partition_day")
            violations.append(Violation(day, "nothing suspicious", str(row), json.dumps([row], default=str)))
    return Outcome(suspicion.name, suspicion.description, judged, violations, _WARN)
