"""The parquet layer: one SELECT types the raw rows of a range; rows that fail go to quarantine with their reason.

Every statement is derived from the contract. Whether a day is good enough to publish is the audit's question.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stock_weather_pipeline.datasets import Dataset
from stock_weather_pipeline.datasets.contract import Column, ColumnType
from stock_weather_pipeline.datasets.rules import row_rules
from stock_weather_pipeline.lake.interfaces import Lake, Output
from stock_weather_pipeline.lake.layout import Day, Layer, days_predicate, external_table, partition_day_sql
from stock_weather_pipeline.layers import catalog
from stock_weather_pipeline.layers.chunks import by_size

# Of the type, or up to where every whole number is a DOUBLE.
_LARGEST = {ColumnType.INTEGER: "2147483647", ColumnType.BIGINT: "9007199254740992"}
_NUMERIC = {ColumnType.DOUBLE, *_LARGEST}
_FORM_OF_NUMBER = "^[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]+)?$"
_DATE = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_TIME = "([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]+)?)?"


def type_days(lake: Lake, dataset: Dataset, days: Sequence[Day]) -> dict[Day, str]:
    """Type `days` into Parquet and quarantine, replacing what was there.

    Returns the days that could not be read, with the reason; their earlier Parquet stays as it was.
    """
    catalog.register(lake, dataset)
    unreadable = catalog.problems(lake, dataset, days)
    good = [day for day in days if day not in unreadable]
    for chunk in by_size(lake, dataset, good):
        lake.engine.unload(typing_select(dataset, chunk), _outputs(dataset), chunk)
    return unreadable


def typing_select(dataset: Dataset, days: Sequence[Day]) -> str:
    """Athena SQL: distinct raw rows (columns `raw_*`), typed columns, `partition_day`, and `reason` (NULL for good).

    Each stage reads columns of the one before, so that no value is trimmed, matched or cast twice.
    """
    raw = external_table(dataset, Layer.RAW)
    names = ", ".join(dataset.column_names)
    originals = ", ".join(f"raw_{name}" for name in dataset.column_names)
    texts = ", ".join(f"{name} AS raw_{name}, NULLIF(trim({name}), '') AS text_{name}" for name in dataset.column_names)
    numeric = [column for column in dataset.columns if column.type in _NUMERIC]
    numbers = ", ".join(["*", *(f"{_number(column)} AS number_{column.name}" for column in numeric)])
    typed = ", ".join(f"{_typed(column)} AS {column.name}" for column in dataset.columns)
    whens = " ".join(f"WHEN {condition} THEN '{reason}'" for condition, reason in _failures(dataset))
    return (
        f"WITH raw AS (SELECT DISTINCT {names}, {partition_day_sql(dataset)} AS partition_day "
        f"FROM {raw.qualified_name} WHERE {days_predicate(dataset, days)}), "
        f"texts AS (SELECT partition_day, {texts} FROM raw), "
        f"numbers AS (SELECT {numbers} FROM texts), "
        f"typed AS (SELECT *, {typed} FROM numbers) "
        f"SELECT partition_day, {originals}, {names}, CASE {whens} END AS reason FROM typed"
    )


def _outputs(dataset: Dataset) -> list[Output]:
    return [
        Output(external_table(dataset, Layer.PARQUET), ", ".join(dataset.column_names), "reason IS NULL"),
        Output(
            external_table(dataset, Layer.QUARANTINE),
            # An empty field is NULL to one engine and '' to another.
            ", ".join([*(f"NULLIF(raw_{name}, '') AS {name}" for name in dataset.column_names), "reason"]),
            "reason IS NOT NULL",
        ),
    ]


def _failures(dataset: Dataset) -> Iterator[tuple[str, str]]:
    for column in dataset.columns:
        if column.type is not ColumnType.STRING:
            kind = {ColumnType.DATE: "a date", ColumnType.TIMESTAMP: "a time"}.get(column.type, "a number")
            if column.type in _LARGEST:
                kind = "a whole number"
            yield f"text_{column.name} IS NOT NULL AND {column.name} IS NULL", f"{column.name} is not {kind}"
        if not column.nullable:
            yield f"{column.name} IS NULL", f"{column.name} is missing"
    for rule in row_rules(dataset):
        yield f"NOT ({rule.sql})", rule.name


def _number(column: Column) -> str:
    # Engines disagree on text such as '1_000', 'inf', '1d', or a time with an offset: the form is checked first.
    text = f"text_{column.name}"
    return f"CASE WHEN regexp_like({text}, '{_FORM_OF_NUMBER}') THEN TRY_CAST({text} AS DOUBLE) END"


def _typed(column: Column) -> str:
    text, number = f"text_{column.name}", f"number_{column.name}"
    if column.type is ColumnType.STRING:
        return text
    if column.type is ColumnType.DOUBLE:
        return number
    if column.type is ColumnType.DATE:
        return f"CASE WHEN regexp_like({text}, '^{_DATE}$') THEN TRY_CAST({text} AS DATE) END"
    if column.type is ColumnType.TIMESTAMP:
        time = f"TRY_CAST(replace({text}, 'T', ' ') AS TIMESTAMP)"
        return f"CASE WHEN regexp_like({text}, '^{_DATE}[ T]{_TIME}$') THEN {time} END"
    if column.type in _LARGEST:
        # Engines disagree on casting text such as '3.0' to a whole number, and on rounding 2.5.
        whole = f"{number} = floor({number}) AND abs({number}) <= {_LARGEST[column.type]}"
        return f"CASE WHEN {whole} THEN CAST({number} AS {column.type.value}) END"
    raise ValueError(f"{column.name}: no typing rule for {column.type.value}")
