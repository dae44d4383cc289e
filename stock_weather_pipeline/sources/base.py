"""What a source is: a plan of vendor calls, and the pages of rows they bring, in plain Python.

Sources know vendors and HTTP. They know nothing of Dagster, of Arrow, of files, or of what happens to the rows
afterwards; `tables` makes tables of pages where tables are wanted.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Protocol

PARTITION_DAY = "partition_day"
"""The extra last column of a range source's rows: the New York day a row belongs to."""

Progress = Callable[[int, int, str], None]
"""Called as (calls done, calls planned, what is being fetched), so that long work can show where it stands."""

Columns = Mapping[str, Sequence[Any]]
"""Values by column of the contract, all equally long. Numbers are the vendor's text, an absent value is None; junk is
whatever the vendor's JSON held, and `as_text` says how it is spelled."""


def silent(_done: int, _planned: int, _what: str) -> None:
    """The progress of nobody watching."""


def as_text(value: Any) -> str | None:
    """How a parsed JSON value is stored. Numbers arrive as the vendor's text already and stay as they are."""
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value)
    # Half of a surrogate pair is legal JSON but has no UTF-8.
    return text.encode("utf-8", "replace").decode()


@dataclass(frozen=True)
class FetchPlan:
    """The fewest calls that bring a range, and how long they take at this quota. Made without any call."""

    calls: int
    minutes: float
    description: str


@dataclass(frozen=True)
class Page:
    """Rows of the New York days `first`..`last`, both included: what `calls` vendor calls brought.

    `days` holds the New York day of each row as an ISO date. Rows of days that are no partition (a bar on a holiday)
    are kept: the landing decides about them. `simulated` is true when the server said that its data is simulated.
    `whole` says that with this page the vendor has no other row of these days.
    """

    first: date
    last: date
    columns: Columns
    days: Sequence[str]
    calls: int
    simulated: bool
    whole: bool


class RangeSource(Protocol):
    """Brings a partitioned dataset.

    `fetch` yields pages in ascending order of their days. Pages of the same days follow each other; the last of them
    makes these days whole.
    """

    def plan(self, days: Sequence[date]) -> FetchPlan: ...

    def fetch(self, days: Sequence[date], progress: Progress = silent) -> Iterator[Page]: ...


@dataclass(frozen=True)
class Snapshot:
    """All rows of a dataset without partitions. `simulated` is None when no vendor was asked."""

    columns: Columns
    calls: int
    simulated: bool | None


class SnapshotSource(Protocol):
    """Brings a dataset without partitions, whole."""

    def fetch(self, progress: Progress = silent) -> Snapshot: ...
