"""The views: one `.sql` file each in Athena's dialect, loaded here with what its opening comment says.

A file begins with comments: a description, `Key: column, ...` with `Reads: table, ...`, and one `column: comment` line
for every column in order, each part apart by an empty comment line; a line indented by two more spaces continues the
one above. Column types are the engine's to say. Adding a view is adding a file. No SQL is parsed to load them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from importlib import resources
from types import MappingProxyType

from stock_weather_pipeline.partitions import PartitionSet

_PARTITION_SETS = {"trade_date": PartitionSet.SESSIONS, "local_date": PartitionSet.DAYS}


@dataclass(frozen=True)
class View:
    """One view. `sql` is Athena's, without the opening comment; `columns` maps each column to its comment, in order.

    `key` is unique over the rows; its first column is the entity (a ticker, a location), and one of it is the day.
    `depends_on` are the tables and views it reads, in the order it names them.
    """

    name: str
    sql: str
    description: str
    columns: Mapping[str, str]
    key: tuple[str, ...]
    depends_on: tuple[str, ...]

    @property
    def entity(self) -> str:
        return self.key[0]

    @property
    def units(self) -> dict[str, str]:
        """The columns that are quantities, with the unit that ends their comment: `... [USD]`."""
        found = {name: re.search(r"\[([^\[\]]+)\]$", comment) for name, comment in self.columns.items()}
        return {name: unit[1] for name, unit in found.items() if unit}

    @property
    def day_column(self) -> str:
        return next(column for column in self.key if column in _PARTITION_SETS)

    @property
    def partition_set(self) -> PartitionSet:
        return _PARTITION_SETS[self.day_column]

    @property
    def code_version(self) -> str:
        """Changes when the SQL does."""
        return hashlib.sha256(self.sql.encode()).hexdigest()[:16]


def parse_view(name: str, text: str) -> View:
    """The view in the text of a file. Raises ValueError where the opening comment has not the parts it should."""
    header, _, sql = text.partition("\n\n")
    parts = re.sub(r"\n--  +", " ", header).split("\n--\n")
    about = re.fullmatch("-- Key: (.+)\n-- Reads: (.+)", parts[1]) if len(parts) == 3 else None
    if about is None:
        raise ValueError(
            f"views/{name}.sql: its opening comment should be a description, a key with what is read, and the columns"
        )
    lines = [line.removeprefix("-- ").partition(": ") for line in parts[2].splitlines()]
    view = View(
        name=name,
        sql=sql.strip() + "\n",
        description=" ".join(line.removeprefix("-- ") for line in parts[0].splitlines()),
        columns=MappingProxyType({column: comment for column, _, comment in lines}),
        key=tuple(about[1].split(", ")),
        depends_on=tuple(about[2].split(", ")),
    )
    if not set(view.key) <= set(view.columns) or not set(view.key) & set(_PARTITION_SETS):
        raise ValueError(f"views/{name}.sql: its key {view.key} should be of its columns and hold a day")
    return view


def _load() -> dict[str, View]:
    files = [file for file in resources.files(__package__).iterdir() if file.name.endswith(".sql")]
    views = {
        name: parse_view(name, file.read_text(encoding="utf-8"))
        for name, file in sorted((file.name.removesuffix(".sql"), file) for file in files)
    }
    needs = {name: [other for other in view.depends_on if other in views] for name, view in views.items()}
    return {name: views[name] for name in TopologicalSorter(needs).static_order()}


VIEWS: dict[str, View] = _load()
