"""What a source is: a plan of vendor calls, and the rows they bring, as strings, in the contract's columns.

Sources know vendors and HTTP. They know nothing of Dagster, of files, or of what happens to the rows afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import pyarrow as pa

PARTITION_DAY = "partition_day"
"""The extra last column (date32) of a range source's table: the New York day a row belongs to."""

Progress = Callable[[int, int, str], None]
"""Called as (calls done, calls planned, what is being fetched), so that long work can show where it stands."""


def silent(_done: int, _planned: int, _what: str) -> None:
    """The progress of nobody watching."""


@dataclass(frozen=True)
class FetchPlan:
    """The fewest calls that bring a range, and how long they take at this quota. Made without any call."""

    calls: int
    minutes: float
    description: str


@dataclass(frozen=True)
class Fetched:
    """A chunk of rows: every row the vendor has for the New York days `first`..`last`, both included.

    `table` has the contract's columns as strings, exactly as the vendor wrote the values, then PARTITION_DAY. Rows of
    days that are no partition (a bar on a holiday) are kept: the landing decides about them. `calls` counts the vendor
    calls made for this chunk. `simulated` is true when the server said that its data is simulated.
    """

    first: date
    last: date
    table: pa.Table
    calls: int
    simulated: bool


class RangeSource(Protocol):
    """Brings a partitioned dataset. `fetch` yields chunks in ascending order that together cover the asked days."""

    def plan(self, days: Sequence[date]) -> FetchPlan: ...

    def fetch(self, days: Sequence[date], progress: Progress = silent) -> Iterator[Fetched]: ...


@dataclass(frozen=True)
class Snapshot:
    """All rows of a dataset without partitions, as strings in the contract's columns.

    `simulated` is None when no vendor was asked.
    """

    table: pa.Table
    calls: int
    simulated: bool | None


class SnapshotSource(Protocol):
    """Brings a dataset without partitions, whole."""

    def fetch(self, progress: Progress = silent) -> Snapshot: ...
