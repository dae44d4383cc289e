"""The audit: a verdict per day and check on the typed rows, computed once and kept, so that it holds across runs.

Asset checks show it and publishing obeys it; both read it here. It is kept as the prod table `audits`, so that a user
can query why a day was held back.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Any

from stock_weather_pipeline.datasets import Dataset
from stock_weather_pipeline.datasets.contract import Column, ColumnType
from stock_weather_pipeline.datasets.rules import missing_required, row_rules
from stock_weather_pipeline.errors import UnreadableFileError
from stock_weather_pipeline.lake.interfaces import Lake, Scope
from stock_weather_pipeline.lake.layout import (
    Day,
    ExternalTable,
    Layer,
    day_ranges,
    days_predicate,
    external_table,
    partition_day_sql,
)
from stock_weather_pipeline.layers.chunks import by_size
from stock_weather_pipeline.partitions import PartitionSet

CHECKS: dict[str, str] = {
    "readable": "The raw file fits the contract and the Parquet file can be read.",
    "rows_accounted": "Raw rows = Parquet rows + quarantined rows + exact duplicates, and there is at least one.",
    "required_not_null": "No required column is NULL.",
    "unique_key": "No two rows share a key.",
    "row_rules": "Every row keeps the contract's rules: ranges, low <= open and close <= high, its own day.",
    "quarantined_share": "The share of quarantined rows is within the contract's limit.",
}

AUDITS = Dataset(
    name="audits",
    description="The verdict of every check on every day that was typed: why a day was published or held back.",
    source="computed by this pipeline",
    columns=(
        Column("dataset", ColumnType.STRING, "Dataset that was audited."),
        Column("day", ColumnType.DATE, "Partition; NULL for a dataset without partitions.", nullable=True),
        Column("check_name", ColumnType.STRING, "Check."),
        Column("passed", ColumnType.BOOLEAN, "Whether the day passes the check."),
        Column("expected", ColumnType.STRING, "What the check asks for."),
        Column("actual", ColumnType.STRING, "What it found."),
        Column("sample", ColumnType.STRING, "Some offending rows, as JSON.", nullable=True),
        Column("version", ColumnType.STRING, "Version of the Parquet file that was judged."),
        Column("audited_at", ColumnType.TIMESTAMP, "When.", unit="UTC"),
    ),
    key=("dataset", "check_name"),
    entity="dataset",
    partition_set=PartitionSet.DAYS,
    day_column="day",
    day_sql="day",
)

_METRICS = ("raw", "duplicates", "parquet", "quarantined", "nulls", "broken", "repeated")
_SAMPLE_ROWS = 5
_SAMPLED_DAYS = 20


@dataclass(frozen=True)
class Finding:
    """One check on one day."""

    day: Day
    check: str
    passed: bool
    expected: str
    actual: str
    version: str
    sample: str | None = None
    quarantined_rows: int | None = field(default=None, compare=False)
    """Counted by `rows_accounted` when it judges; kept verdicts do not hold it."""

    @property
    def sentence(self) -> str:
        return f"{self.check}: expected {self.expected}, found {self.actual}"


def audit(lake: Lake, dataset: Dataset, days: Sequence[Day], unreadable: Mapping[Day, str]) -> list[Finding]:
    """Judge the Parquet of `days`, keep the verdicts and return them. `unreadable` are days that were not typed."""
    import pyarrow as pa

    versions = parquet_versions(lake, dataset, days)
    findings: list[Finding] = []
    readable = [day for day in days if day not in unreadable]
    metrics: dict[Day, dict[str, int]] = {}
    corrupt: dict[Day, str] = {}
    for part in by_size(lake, dataset, readable):
        of_part, corrupt_of_part = _measure(lake, dataset, part)
        metrics.update(of_part)
        corrupt.update(corrupt_of_part)
    for day in days:
        version = versions.get(day, "")
        problem = unreadable.get(day) or corrupt.get(day)
        findings.append(
            Finding(
                day, "readable", problem is None, "a raw and a Parquet file in order", problem or "in order", version
            )
        )
        if problem is None:
            findings += _judge(dataset, day, metrics[day], version)
    findings = _with_samples(lake, dataset, findings)
    now = datetime.now(timezone.utc).replace(tzinfo=None)
    rows = pa.Table.from_pylist(
        [
            {
                "dataset": dataset.name,
                "day": finding.day,
                "check_name": finding.check,
                "passed": finding.passed,
                "expected": finding.expected,
                "actual": finding.actual,
                "sample": finding.sample,
                "version": finding.version,
                "audited_at": now,
            }
            for finding in findings
        ],
        schema=AUDITS.arrow_schema,
    )
    scope = _scope(dataset, days)
    lake.tables.publish(AUDITS, lambda: (rows, scope), {"audited": dataset.name})
    return findings


def verdicts(lake: Lake, dataset: Dataset, days: Sequence[Day]) -> dict[Day, list[Finding]]:
    """The kept verdicts on the Parquet as it is now; days that were replaced since, or never judged, are left out."""
    versions = parquet_versions(lake, dataset, days)
    found: dict[Day, list[Finding]] = defaultdict(list)
    wanted = set(days)
    for row in lake.tables.read(AUDITS, _scope(dataset, days)).to_pylist():
        day = row["day"]
        if day in wanted and row["version"] == versions.get(day, ""):
            found[day].append(
                Finding(
                    day,
                    row["check_name"],
                    row["passed"],
                    row["expected"],
                    row["actual"],
                    row["version"],
                    row["sample"],
                )
            )
    return dict(found)


def parquet_versions(lake: Lake, dataset: Dataset, days: Sequence[Day]) -> dict[Day, str]:
    """The version of each day's Parquet; a day without rows has none."""
    stored = lake.engine.stored(external_table(dataset, Layer.PARQUET), days)
    return {day: found.version for day, found in stored.items()}


def _scope(dataset: Dataset, days: Sequence[Day]) -> Scope:
    ranges = () if dataset.partition_set is None else tuple(day_ranges(dataset, days))
    return Scope(day_ranges=ranges, equals=("dataset", dataset.name))


def _measure(lake: Lake, dataset: Dataset, days: Sequence[Day]) -> tuple[dict[Day, dict[str, int]], dict[Day, str]]:
    """Counts per day, and the days whose stored files cannot be read, found by halving."""
    if not days:
        return {}, {}
    # Audited here, then published and compared.
    lake.engine.keep(external_table(dataset, Layer.PARQUET), days)
    try:
        rows = lake.rows(_metrics_sql(dataset, days))
    except UnreadableFileError as error:
        if len(days) == 1:
            found = lake.engine.stored(external_table(dataset, Layer.PARQUET), days)
            where = found[days[0]].uri if found else f"the Parquet of {dataset.name}"
            return {}, {days[0]: f"{where} is corrupt ({error}): materialize parquet/{dataset.name} for it again"}
        middle = len(days) // 2
        left, left_bad = _measure(lake, dataset, days[:middle])
        right, right_bad = _measure(lake, dataset, days[middle:])
        return {**left, **right}, {**left_bad, **right_bad}
    # Between two sessions there may be a holiday with quarantined rows of its own; it is not judged.
    counted = {row["partition_day"]: {name: int(row[name]) for name in _METRICS} for row in rows}
    return {day: counted.get(day, dict.fromkeys(_METRICS, 0)) for day in days}, {}


def _metrics_sql(dataset: Dataset, days: Sequence[Day]) -> str:
    """A row for each day with the `_METRICS`. Every table is read once."""
    names, key = ", ".join(dataset.column_names), ", ".join(dataset.key)

    def rows_of(layer: Layer) -> str:
        return (
            f"SELECT {names}, {partition_day_sql(dataset)} AS partition_day FROM "
            f"{external_table(dataset, layer).qualified_name} WHERE {days_predicate(dataset, days)}"
        )

    def counted(source: str, **found: str) -> str:
        return (
            f"SELECT partition_day, {', '.join(f'{found.get(name, 0)} AS {name}' for name in _METRICS)} FROM {source}"
        )

    broken = " OR ".join(f"NOT ({rule.sql})" for rule in row_rules(dataset)) or "FALSE"
    distinct = f"SELECT partition_day, count(*) AS copies FROM ({rows_of(Layer.RAW)}) GROUP BY partition_day, {names}"
    keys = (
        f"SELECT partition_day, count(*) AS copies, count_if({missing_required(dataset)}) AS nulls, "
        f"count_if({broken}) AS broken FROM ({rows_of(Layer.PARQUET)}) GROUP BY partition_day, {key}"
    )
    parts = [
        counted(f"({distinct})", raw="copies", duplicates="copies - 1"),
        counted(
            f"({keys})",
            parquet="copies",
            nulls="nulls",
            broken="broken",
            repeated="CASE WHEN copies > 1 THEN copies ELSE 0 END",
        ),
        counted(f"({rows_of(Layer.QUARANTINE)})", quarantined="1"),
    ]
    sums = ", ".join(f"CAST(sum({name}) AS BIGINT) AS {name}" for name in _METRICS)
    return f"SELECT partition_day, {sums} FROM ({' UNION ALL '.join(parts)}) GROUP BY partition_day"


def _judge(dataset: Dataset, day: Day, counts: Mapping[str, int], version: str) -> list[Finding]:
    raw, parquet, quarantined, duplicates = (counts[name] for name in ("raw", "parquet", "quarantined", "duplicates"))
    accounted = parquet + quarantined + duplicates
    distinct = raw - duplicates
    share = quarantined / distinct if distinct else 0.0
    limit = dataset.max_quarantined_share
    return [
        Finding(
            day,
            "rows_accounted",
            raw == accounted and (raw > 0 or dataset.may_be_empty),
            f"{raw} raw rows" + ("" if dataset.may_be_empty else ", at least 1"),
            f"{accounted} = {parquet} parquet + {quarantined} quarantined + {duplicates} duplicates",
            version,
            quarantined_rows=quarantined,
        ),
        Finding(day, "required_not_null", counts["nulls"] == 0, "0 rows", f"{counts['nulls']} rows", version),
        Finding(day, "unique_key", counts["repeated"] == 0, "0 rows", f"{counts['repeated']} rows", version),
        Finding(day, "row_rules", counts["broken"] == 0, "0 rows", f"{counts['broken']} rows", version),
        Finding(
            day,
            "quarantined_share",
            share <= limit,
            f"at most {limit:.1%} of the rows",
            f"{share:.1%} ({quarantined} of {distinct})",
            version,
        ),
    ]


def _with_samples(lake: Lake, dataset: Dataset, findings: list[Finding]) -> list[Finding]:
    """Offending rows for the first failures; all of them are counted, a sample is enough to see what is wrong."""
    sampled = 0
    result = []
    for finding in findings:
        sql = None if finding.passed or sampled >= _SAMPLED_DAYS else _sample_sql(dataset, finding)
        if sql is not None:
            sampled += 1
            rows: list[dict[str, Any]] = lake.rows(sql)
            finding = replace(finding, sample=json.dumps(rows, default=str, ensure_ascii=False))
        result.append(finding)
    return result


def _sample_sql(dataset: Dataset, finding: Finding) -> str | None:
    def rows_of(table: ExternalTable) -> str:
        names = ", ".join(column.name for column in table.columns)
        return (
            f"SELECT {names}, {partition_day_sql(dataset)} AS partition_day FROM {table.qualified_name} "
            f"WHERE {days_predicate(dataset, [finding.day])}"
        )

    parquet = external_table(dataset, Layer.PARQUET)
    names, key = ", ".join(dataset.column_names), ", ".join(dataset.key)
    broken = " OR ".join(f"NOT ({rule.sql})" for rule in row_rules(dataset)) or "FALSE"
    limit = f"LIMIT {_SAMPLE_ROWS}"
    return {
        "required_not_null": f"SELECT {names} FROM ({rows_of(parquet)}) WHERE {missing_required(dataset)} {limit}",
        "row_rules": f"SELECT {names} FROM ({rows_of(parquet)}) WHERE {broken} {limit}",
        "unique_key": f"SELECT {names} FROM (SELECT {names}, count(*) OVER (PARTITION BY {key}) AS copies FROM "
        f"({rows_of(parquet)})) WHERE copies > 1 ORDER BY {key} {limit}",
        "quarantined_share": f"SELECT {names}, reason FROM "
        f"({rows_of(external_table(dataset, Layer.QUARANTINE))}) ORDER BY {key} {limit}",
    }.get(finding.check)
