"""Checks of the raw layer: the file is there, has the rows a complete day has, and every ticker or location."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date

import dagster as dg

from stock_weather_pipeline.checks.distributions import counted, n_rows
from stock_weather_pipeline.checks.results import Outcome, Violation, layer_checks
from stock_weather_pipeline.datasets import Dataset
from stock_weather_pipeline.lake.interfaces import Lake
from stock_weather_pipeline.lake.layout import Day, Layer, days_predicate, external_table, partition_day_sql
from stock_weather_pipeline.layers.catalog import problems, register
from stock_weather_pipeline.settings import Settings

_DESCRIPTIONS = {
    "file_there": "Every day has its raw file.",
    "rows_as_expected": "Every ticker or location has as many rows as a complete day has.",
    "entities_present": "Every configured ticker or location is there.",
}


def raw_checks(dataset: Dataset, settings: Settings) -> dg.AssetChecksDefinition:
    """The checks of `raw/<dataset>`."""
    expected = _expected_entities(dataset, settings)

    def judged(lake: Lake, days: Sequence[Day]) -> Iterator[Outcome]:
        return judge(lake, dataset, days, expected)

    return layer_checks(["raw", dataset.name], _DESCRIPTIONS, dataset.partition_set, judged)


def judge(lake: Lake, dataset: Dataset, days: Sequence[Day], expected: Sequence[str]) -> Iterator[Outcome]:
    """The outcome of every check of the layer on these days."""
    table = external_table(dataset, Layer.RAW)
    held = {item.key for item in lake.objects.list(table.prefix)}
    there = [day for day in days if table.key(day) in held]
    missing = [day for day in days if table.key(day) not in held]
    yield Outcome(
        "file_there",
        "a file for each day",
        counted("days", [*("a file" for _ in there), *("no file" for _ in missing)]),
        [Violation(day, table.key(day), "no such file") for day in missing],
    )
    register(lake, dataset)
    unreadable = problems(lake, dataset, there)
    seen = _entities_per_day(lake, dataset, [day for day in there if day not in unreadable])
    yield Outcome(
        "rows_as_expected",
        "the rows of a complete day",
        counted(
            f"{dataset.entity} days",
            [
                *(n_rows(count) for counts in seen.values() for count in counts.values()),
                *("an unreadable file" for _ in unreadable),
            ],
        ),
        [
            *(Violation(day, "a file in order", problem) for day, problem in unreadable.items()),
            *_wrong_counts(dataset, seen),
        ],
    )
    yield _presence(expected, seen)


def _expected_entities(dataset: Dataset, settings: Settings) -> list[str]:
    if dataset.partition_set is None or (dataset.entity == "ticker" and settings.whole_market):
        return []
    if dataset.entity == "location":
        return [location.name for location in settings.locations]
    return list(settings.tickers)


def _entities_per_day(lake: Lake, dataset: Dataset, days: Sequence[Day]) -> dict[Day, dict[str, int]]:
    if not days:
        return {}
    rows = lake.rows(
        "SELECT partition_day, entity, count(*) AS row_count "
        f"FROM (SELECT {partition_day_sql(dataset)} AS partition_day, {dataset.entity} AS entity "
        f"FROM {external_table(dataset, Layer.RAW).qualified_name} "
        f"WHERE {days_predicate(dataset, days)}) GROUP BY partition_day, entity"
    )
    seen: dict[Day, dict[str, int]] = {day: {} for day in days}
    for row in rows:
        seen[row["partition_day"]][row["entity"]] = row["row_count"]
    return seen


def _wrong_counts(dataset: Dataset, seen: dict[Day, dict[str, int]]) -> Iterator[Violation]:
    for day, counts in seen.items():
        if not isinstance(day, date):
            continue
        wanted = dataset.rows_per_entity(day)
        wrong = {entity: count for entity, count in counts.items() if count != wanted}
        if wrong:
            entity, count = next(iter(wrong.items()))
            yield Violation(day, f"{wanted} rows for each {dataset.entity}", f"{count} for {entity}")


def _presence(expected: Sequence[str], seen: dict[Day, dict[str, int]]) -> Outcome:
    absent = {day: [name for name in expected if name not in counts] for day, counts in seen.items()}
    everywhere = [name for name in expected if seen and all(name in names for names in absent.values())]
    # Absent on every day is a wrong name; absent on some days is a late listing or a halt.
    advice = ": check the spelling, upper and lower case matter" if everywhere else ""
    violations = [
        Violation(day, f"rows for {', '.join(expected)}", f"none for {', '.join(names)}{advice}")
        for day, names in absent.items()
        if names
    ]
    severity = dg.AssetCheckSeverity.ERROR if everywhere else dg.AssetCheckSeverity.WARN
    known = set(expected)
    present = counted(
        "days", (f"{len(known & set(names)) if known else len(names)} present" for names in seen.values())
    )
    return Outcome("entities_present", f"rows for {', '.join(expected) or 'anything'}", present, violations, severity)
