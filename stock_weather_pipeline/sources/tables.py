"""Arrow tables of strings made of pages, in a contract's columns. Nothing about vendors or HTTP belongs here.

The only module of the sources that knows Arrow, so that the others run where there is none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any

from stock_weather_pipeline.errors import SourceError
from stock_weather_pipeline.sources.base import PARTITION_DAY, Columns, Page, Snapshot, as_text

if TYPE_CHECKING:
    import pyarrow as pa

    from stock_weather_pipeline.datasets import Dataset

# Enough to make landing them worth a pass, few enough to hold in memory.
_ROWS_PER_CHUNK = 500_000


@dataclass(frozen=True)
class Fetched:
    """A chunk of rows: every row the vendor has for the New York days `first`..`last`, both included.

    `table` has `range_schema`, in the order in which the rows came. `calls` counts the vendor calls made for this
    chunk. `simulated` is true when the server said that its data is simulated.
    """

    first: date
    last: date
    table: pa.Table
    calls: int
    simulated: bool


def range_schema(dataset: Dataset) -> pa.Schema:
    """The contract's columns as strings, then PARTITION_DAY as a date."""
    import pyarrow as pa

    return dataset.raw_schema.append(pa.field(PARTITION_DAY, pa.date32()))


def gathered(dataset: Dataset, pages: Iterable[Page]) -> Iterator[Fetched]:
    """A range source's pages in chunks of whole days, each of about half a million rows.

    When the source fails, the days that had come whole until then are yielded first.
    """
    chunk, span = _Chunk(), _Chunk()
    try:
        for page in pages:
            span.add(dataset, page)
            if page.whole:
                chunk, span = chunk.followed_by(span), _Chunk()
            if chunk.rows >= _ROWS_PER_CHUNK:
                yield chunk.fetched(dataset)
                chunk = _Chunk()
    except SourceError:
        if chunk.pages:
            yield chunk.fetched(dataset)
        raise
    if chunk.pages:
        yield chunk.fetched(dataset)


def snapshot_table(dataset: Dataset, snapshot: Snapshot) -> pa.Table:
    """All rows of a dataset without partitions, in its raw schema."""
    return _table(dataset, snapshot.columns)


@dataclass
class _Chunk:
    """Pages gathered until there are enough rows."""

    first: date = date.min
    last: date = date.min
    pages: list[pa.Table] = field(default_factory=list)
    calls: int = 0
    simulated: bool = False

    @property
    def rows(self) -> int:
        return sum(page.num_rows for page in self.pages)

    def add(self, dataset: Dataset, page: Page) -> None:
        import pyarrow as pa

        days = pa.array(page.days, pa.string()).cast(pa.date32())
        self.first = self.first if self.pages else page.first
        self.last = page.last
        self.pages.append(_table(dataset, page.columns).append_column(PARTITION_DAY, days))
        self.calls += page.calls
        self.simulated |= page.simulated

    def followed_by(self, span: _Chunk) -> _Chunk:
        first = self.first if self.pages else span.first
        simulated = self.simulated or span.simulated
        return _Chunk(first, span.last, [*self.pages, *span.pages], self.calls + span.calls, simulated)

    def fetched(self, dataset: Dataset) -> Fetched:
        import pyarrow as pa

        # The schema is named, because a table of no rows says nothing about its columns.
        table = pa.concat_tables([range_schema(dataset).empty_table(), *self.pages]).combine_chunks()
        return Fetched(self.first, self.last, table, self.calls, self.simulated)


def _table(dataset: Dataset, columns: Columns) -> pa.Table:
    import pyarrow as pa

    return pa.table([_text_array(columns[name]) for name in dataset.column_names], schema=dataset.raw_schema)


def _text_array(values: Sequence[Any]) -> pa.Array:
    import pyarrow as pa

    try:
        # Far faster than looking at each value, and nearly every column is text already.
        return pa.array(values, pa.string())
    except (pa.ArrowInvalid, pa.ArrowTypeError, UnicodeEncodeError):
        return pa.array([as_text(value) for value in values], pa.string())
