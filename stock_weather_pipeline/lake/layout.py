"""Names and places: databases, tables over files, object keys. Pure functions; nothing is read or written here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from enum import Enum
from os.path import commonprefix

from stock_weather_pipeline.datasets import Dataset
from stock_weather_pipeline.datasets.contract import Column, ColumnType
from stock_weather_pipeline.partitions import contiguous

PROD_DATABASE = "stock_weather"
DAY_COLUMNS = ("year", "month", "day")
# From here on one list of days is far faster to match against every file's path than ranges are.
_MAX_RANGES = 4

Day = date | None
"""A partition: a day, or None for the single part of a dataset without partitions."""


class Layer(Enum):
    """The layers stored as files, each with its own database of external tables."""

    RAW = "raw"
    PARQUET = "parquet"
    QUARANTINE = "quarantine"

    @property
    def database(self) -> str:
        return f"{PROD_DATABASE}_{self.value}"

    @property
    def suffix(self) -> str:
        return "csv" if self is Layer.RAW else "parquet"


REASON = Column("reason", ColumnType.STRING, "Why the row was set aside.")


@dataclass(frozen=True)
class ExternalTable:
    """A table over files of one layer of one dataset: columns in file order, then year, month, day from paths."""

    dataset: str
    layer: Layer
    columns: tuple[Column, ...]
    partitioned: bool
    comment: str

    @property
    def database(self) -> str:
        return self.layer.database

    @property
    def name(self) -> str:
        return self.dataset

    @property
    def qualified_name(self) -> str:
        return f"{self.database}.{self.name}"

    @property
    def prefix(self) -> str:
        """Every file of the table is below this prefix, and nothing else is."""
        return f"{self.layer.value}/{self.dataset}/"

    def key(self, day: Day) -> str:
        """The object that holds a day."""
        return f"{self.prefix}{day_path(day)}{self.dataset}.{self.layer.suffix}"

    def prefix_of(self, days: Sequence[Day]) -> str:
        """The longest prefix of an object's key that all these days share."""
        # Character by character, as a prefix may end anywhere.
        return commonprefix([self.key(min(days, key=str)), self.key(max(days, key=str))])  # noqa: RUF071


@dataclass(frozen=True)
class ViewDefinition:
    """A SQL view of the prod database, in Athena SQL."""

    name: str
    sql: str
    comment: str
    column_comments: tuple[tuple[str, str], ...]


def day_path(day: Day) -> str:
    return "" if day is None else f"year={day.year:04}/month={day.month:02}/day={day.day:02}/"


def day_of_key(key: str) -> Day:
    """The day in an object's key, or None. Raises ValueError for a path that names no real day."""
    parts = dict(part.split("=", 1) for part in key.split("/") if "=" in part)
    if not parts:
        return None
    try:
        return date(*(int(parts[name]) for name in DAY_COLUMNS))
    except (KeyError, ValueError):
        raise ValueError(f"{key} is not below year=YYYY/month=MM/day=DD/") from None


def external_table(dataset: Dataset, layer: Layer) -> ExternalTable:
    """The table of a layer, derived from the contract."""
    strings = tuple(Column(c.name, ColumnType.STRING, c.described, nullable=True) for c in dataset.columns)
    columns, comment = {
        Layer.RAW: (strings, "As the vendor sent it, all strings."),
        Layer.PARQUET: (dataset.columns, "Typed rows, before the audit."),
        Layer.QUARANTINE: ((*strings, REASON), "Rows set aside, as the vendor sent them, with the reason."),
    }[layer]
    return ExternalTable(
        dataset=dataset.name,
        layer=layer,
        columns=columns,
        partitioned=dataset.partition_set is not None,
        comment=f"{comment} {dataset.description}",
    )


def superseded_key(dataset: Dataset, day: Day, sha256: str) -> str:
    """Where the raw file of a day is kept once a changed one has replaced it."""
    return f"{superseded_prefix(dataset)}{day_path(day)}{dataset.name}.{sha256[:16]}.csv"


def superseded_prefix(dataset: Dataset) -> str:
    """Every superseded raw file of the dataset is below this prefix, and nothing else is."""
    return f"superseded/{dataset.name}/"


def partition_day_sql(dataset: Dataset) -> str:
    """Athena SQL for the day of an external table's row, from its path."""
    if dataset.partition_set is None:
        return "CAST(NULL AS DATE)"
    return "CAST(concat(year, '-', month, '-', day) AS DATE)"


def text_list(texts: Iterable[str]) -> str:
    """SQL texts for an IN list."""
    return ", ".join("'" + text.replace("'", "''") + "'" for text in texts)


def days_predicate(dataset: Dataset, days: Sequence[Day]) -> str:
    """Athena SQL that selects exactly these days of an external table."""
    if dataset.partition_set is None:
        return "TRUE"
    ranges = day_ranges(dataset, days)
    path_day = "concat(year, '-', month, '-', day)"
    if len(ranges) > _MAX_RANGES:
        listed = ", ".join(f"'{day}'" for day in days)
        text = f"{path_day} IN ({listed})"
    else:
        text = " OR ".join(f"{path_day} BETWEEN '{first}' AND '{last}'" for first, last in ranges)
    return f"year BETWEEN '{ranges[0][0]:%Y}' AND '{ranges[-1][1]:%Y}' AND ({text})"


def day_ranges(dataset: Dataset, days: Iterable[Day]) -> list[tuple[date, date]]:
    """First and last day of each run without a gap in the dataset's partition set. Raises ValueError for no days."""
    if dataset.partition_set is None:
        raise ValueError(f"{dataset.name} has no days")
    groups = contiguous([day for day in days if day is not None], dataset.partition_set)
    if not groups:
        raise ValueError("no days given")
    return [(group[0], group[-1]) for group in groups]
