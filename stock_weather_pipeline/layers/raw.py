"""The raw layer: lands what a source brought, one CSV per dataset and day, byte for byte deterministic.

Values stay as the vendor sent them. Nothing is typed, judged or dropped here, except that rows of a day without a
partition (a bar on a holiday) go to quarantine, since no partition could hold them.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING

from stock_weather_pipeline.datasets import Dataset
from stock_weather_pipeline.errors import SourceError
from stock_weather_pipeline.lake.interfaces import Lake
from stock_weather_pipeline.lake.layout import Day, Layer, external_table, superseded_key
from stock_weather_pipeline.lake.opening import claim
from stock_weather_pipeline.sources.base import PARTITION_DAY, Snapshot
from stock_weather_pipeline.sources.tables import Fetched, snapshot_table

if TYPE_CHECKING:
    import pyarrow as pa

NOT_A_PARTITION = "the vendor sent a row for a day that is not a NYSE session"


@dataclass(frozen=True)
class LandedDay:
    """One raw file. `replaced_sha256` names the version it superseded, None when it is new or unchanged."""

    key: str
    rows: int
    size_bytes: int
    sha256: str
    changed: bool
    replaced_sha256: str | None
    entities: int


@dataclass
class Landing:
    """What a fetch left: the landed days, the entities seen, rows set aside by day, the vendor calls it took.

    `interruption` is what ended the fetch early; what had come until then is landed.
    """

    days: dict[Day, LandedDay] = field(default_factory=dict)
    entities: set[str] = field(default_factory=set)
    set_aside: dict[date, int] = field(default_factory=dict)
    calls: int = 0
    interruption: SourceError | None = None


def land(
    lake: Lake, dataset: Dataset, days: Sequence[date], chunks: Iterable[Fetched], asked: Sequence[str] | None
) -> Landing:
    """Land the wanted days from a range source's chunks; a day for which no row came is left out of the result.

    Landing is repeatable: the same rows give the same bytes, and a file is replaced only by other bytes. Only rows of
    the `asked` entities (None: all there are) are replaced; a file keeps its rows of others.
    """
    import pyarrow.compute as pc

    assert dataset.partition_set is not None
    wanted = set(days)
    landing = Landing()
    order = [(PARTITION_DAY, "ascending"), *((name, "ascending") for name in dataset.column_names)]
    for chunk in _until_interrupted(chunks, landing):
        claim(lake, chunk.simulated)
        landing.calls += chunk.calls
        landing.entities.update(pc.unique(chunk.table[dataset.entity]).to_pylist())
        stray: list[pa.Table] = []
        for day, rows in _days(chunk.table.sort_by(order)):
            if day in wanted:
                landing.days[day] = _store(lake, dataset, day, rows, asked)
            elif not dataset.partition_set.contains(day):
                landing.set_aside[day] = rows.num_rows
                stray.append(_reasoned(rows, day))
        _set_aside(lake, dataset, chunk, stray)
    return landing


def _until_interrupted(chunks: Iterable[Fetched], landing: Landing) -> Iterator[Fetched]:
    try:
        yield from chunks
    except SourceError as error:
        landing.interruption = error


def land_snapshot(lake: Lake, dataset: Dataset, snapshot: Snapshot) -> Landing:
    """Land a dataset without partitions, whole."""
    if snapshot.simulated is not None:
        claim(lake, snapshot.simulated)
    rows = snapshot_table(dataset, snapshot).sort_by([(name, "ascending") for name in dataset.column_names])
    return Landing(days={None: _store(lake, dataset, None, rows, None)}, calls=snapshot.calls)


def csv_bytes(rows: pa.Table) -> bytes:
    """Header and rows; values are quoted only in a file that needs it, so that one content has one spelling."""
    import pyarrow as pa
    from pyarrow import csv

    for style in ("none", "needed"):
        buffer = io.BytesIO()
        try:
            csv.write_csv(rows, buffer, csv.WriteOptions(quoting_style=style, quoting_header=style))
        except pa.ArrowInvalid:
            continue  # a value holds a comma, a quote or a line end
        return buffer.getvalue()
    raise AssertionError("quoting every value always succeeds")


def _store(lake: Lake, dataset: Dataset, day: Day, rows: pa.Table, asked: Sequence[str] | None) -> LandedDay:
    import pyarrow.compute as pc

    rows = rows.select(list(dataset.column_names))
    key = external_table(dataset, Layer.RAW).key(day)
    old = lake.objects.read(key) if lake.objects.exists(key) else None
    if old is not None and asked is not None:
        rows = _with_others(dataset, rows, old, asked)
    data = csv_bytes(rows)
    sha256 = hashlib.sha256(data).hexdigest()
    replaced: str | None = None
    changed = True
    if old is not None:
        changed = old != data
        if changed:
            # Kept before it is replaced, under its own digest: a kill in between leaves both.
            replaced = hashlib.sha256(old).hexdigest()
            lake.objects.write(superseded_key(dataset, day, replaced), old)
    if changed:
        lake.objects.write(key, data)
    entities = pc.count_distinct(rows[dataset.entity]).as_py()
    return LandedDay(key, rows.num_rows, len(data), sha256, changed, replaced, entities)


def _with_others(dataset: Dataset, rows: pa.Table, old: bytes, asked: Sequence[str]) -> pa.Table:
    """`rows` together with the rows that the old file has of entities that were not asked for."""
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import csv

    try:
        held = csv.read_csv(
            io.BytesIO(old),
            parse_options=csv.ParseOptions(newlines_in_values=True),
            convert_options=csv.ConvertOptions(
                column_types=dataset.raw_schema,
                strings_can_be_null=True,
                null_values=[""],
                quoted_strings_can_be_null=False,
            ),
        )
    except pa.ArrowInvalid:
        return rows  # damaged by hand; it is kept as superseded, not merged
    if held.schema != dataset.raw_schema:
        return rows
    # What the vendor sent of entities that nobody asked for is replaced as well, or it would pile up.
    replaced = pa.chunked_array([pa.array(asked, pa.string()), *rows[dataset.entity].chunks], pa.string())
    others = held.filter(pc.invert(pc.is_in(held[dataset.entity], replaced)))
    if others.num_rows == 0:
        return rows
    order = [(name, "ascending") for name in dataset.column_names]
    return pa.concat_tables([rows.cast(dataset.raw_schema), others]).sort_by(order)


def _set_aside(lake: Lake, dataset: Dataset, chunk: Fetched, stray: list[pa.Table]) -> None:
    import pyarrow as pa

    assert dataset.partition_set is not None
    table = external_table(dataset, Layer.QUARANTINE)
    held = {item.key for item in lake.objects.list(table.prefix) if item.key.endswith(f".{Layer.QUARANTINE.suffix}")}
    every = [date.fromordinal(n) for n in range(chunk.first.toordinal(), chunk.last.toordinal() + 1)]
    closed = [day for day in every if not dataset.partition_set.contains(day)]
    # Only days that have, or had, such rows: a closed day that the vendor has since corrected loses its file.
    sent = {rows[PARTITION_DAY][0].as_py() for rows in stray}
    affected = [day for day in closed if day in sent or table.key(day) in held]
    if not affected:
        return
    lake.catalog.put_table(table)
    columns = [*dataset.column_names, "reason", PARTITION_DAY]
    empty = pa.table({name: pa.array([], pa.date32() if name == PARTITION_DAY else pa.string()) for name in columns})
    lake.engine.write(table, pa.concat_tables([empty, *(rows.select(columns) for rows in stray)]), affected)


def _reasoned(rows: pa.Table, day: date) -> pa.Table:
    import pyarrow as pa

    reason = f"{NOT_A_PARTITION}: {day:%A} {day}"
    return rows.append_column("reason", pa.array([reason] * rows.num_rows, pa.string()))


def _days(rows: pa.Table) -> Iterator[tuple[date, pa.Table]]:
    """The rows of each day, of a table sorted by day."""
    start = 0
    counts = rows.group_by(PARTITION_DAY, use_threads=False).aggregate([([], "count_all")])
    for day, count in zip(counts[PARTITION_DAY].to_pylist(), counts["count_all"].to_pylist(), strict=True):
        yield day, rows.slice(start, count)
        start += count
