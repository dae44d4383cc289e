"""Landing: takes objects that arrived without Dagster into the raw files of the days their records belong to.

Whoever delivers (a Lambda through Firehose, a person) puts objects below `landing/<dataset>/`:

- JSON objects, one per record, with or without anything between them, gzipped or not. A record has the contract's
  column names with strings, numbers or null, for instance
  `{"dataset": "weather", "fetched_at": "2024-03-11T05:00:00Z", "location": "New York",
  "observed_at": "2024-03-10T07:00", "temperature_c": 4.1, ...}`. `dataset` and `fetched_at` are optional; a column that
  is left out is null.
- CSV in UTF-8 whose header has the contract's columns.

Of several records with one key the one with the newest `fetched_at` wins, in whatever order objects arrive; a record
without it counts as fetched when its object arrived. A taken object moves to `landing_taken/`, one that cannot be
read to `landing_rejected/`, each named by its key and the hash of its content, and what was wrong stands beside it in
`*.reason.json`. Objects that look half-written, or hold a day that is not over in New York, stay where they are.

Values are neither typed nor judged here; that is for the layers below raw.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import zlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timezone
from typing import Any

from stock_weather_pipeline.datasets import Dataset
from stock_weather_pipeline.datasets.contract import ColumnType
from stock_weather_pipeline.errors import LakeError
from stock_weather_pipeline.lake.interfaces import Lake, StoredObject
from stock_weather_pipeline.lake.layout import Layer, day_path, external_table
from stock_weather_pipeline.layers import coverage
from stock_weather_pipeline.layers.raw import LandedDay, land
from stock_weather_pipeline.partitions import ONE_DAY, new_york_day, today
from stock_weather_pipeline.sources.base import PARTITION_DAY
from stock_weather_pipeline.sources.tables import Fetched

ARRIVALS = "landing/"
_TAKEN = "landing_taken/"
_REJECTED = "landing_rejected/"
_ANNOTATIONS = ("dataset", "fetched_at")
_GZIP_MAGIC = b"\x1f\x8b"
_SHOWN_CHARACTERS = 500
# No value of any contract is near this; Python's CSV reader ends at 128 KiB.
_LONGEST_VALUE = 1000
# What a gzip stream may unpack to; a run takes 64 MiB of objects.
_MOST_BYTES = 1024**3
# Each unreadable place costs a look through the whole text.
_MOST_UNREADABLE_PLACES = 1000
_LISTED_REJECTIONS = 1000

Row = dict[str, str | None]
RowKey = tuple[str, ...]


@dataclass(frozen=True)
class Arrival:
    """One object to take. `settled` says that it has not changed for so long that nobody is still writing it."""

    key: str
    version: str
    settled: bool


@dataclass(frozen=True)
class Rejection:
    """One record, or piece of an object, that cannot be taken. `position` counts the object's records from 1."""

    position: int
    reason: str
    text: str


@dataclass(frozen=True)
class Record:
    """One good record: its row in the contract's columns, its day, and when it was fetched (ISO, UTC; None unknown)."""

    row: Row
    day: date
    fetched_at: str | None


@dataclass
class Contents:
    """What is in an object. `open_ended` says that its end cannot be read, as when it is still being written."""

    records: list[Record] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)
    open_ended: bool = False


@dataclass
class Taking:
    """What came of a set of arrivals: raw days, keys by what became of them; `left` and `rejected` say why."""

    days: dict[date, LandedDay] = field(default_factory=dict)
    records: int = 0
    taken: list[str] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)
    rejected: dict[str, str] = field(default_factory=dict)
    _to_move: list[_Opened] = field(default_factory=list, repr=False)


@dataclass(frozen=True)
class _Opened:
    key: str
    version: str
    arrived_at: str
    data: bytes
    contents: Contents

    @property
    def identity(self) -> str:
        return _identity(self.key, self.data)


def arrivals(lake: Lake, dataset: Dataset) -> list[StoredObject]:
    """The objects in the landing zone of a dataset, by key."""
    return lake.objects.list(f"{ARRIVALS}{dataset.name}/")


def strays(lake: Lake, datasets: Iterable[Dataset]) -> list[StoredObject]:
    """Objects in the landing zone that are below no dataset's prefix."""
    prefixes = tuple(f"{ARRIVALS}{dataset.name}/" for dataset in datasets)
    return [item for item in lake.objects.list(ARRIVALS) if not item.key.startswith(prefixes)]


def take(
    lake: Lake, dataset: Dataset, objects: Sequence[Arrival], start: date, simulated: bool, now: datetime | None = None
) -> Taking:
    """`bring_in`, then `move_away`, for callers that record nothing in between."""
    taking = bring_in(lake, dataset, objects, start, simulated, now)
    move_away(lake, taking)
    return taking


def bring_in(
    lake: Lake, dataset: Dataset, objects: Sequence[Arrival], start: date, simulated: bool, now: datetime | None = None
) -> Taking:
    """Merge the records of `objects` into raw and leave the objects where they are, until `move_away`.

    In between the caller records the days: a run killed before that finds the objects again. `start` is the first
    partition. `simulated` is the kind of data this lake holds. Raises LakeError when storage fails; repeated, it has
    the same result.
    """
    now = now or datetime.now(timezone.utc)
    taking = Taking()
    opened = []
    for item in sorted(set(objects), key=lambda item: item.key):
        found = _open(lake, dataset, item, start, now, taking)
        if found is not None:
            opened.append(found)
    # An object's name says nothing about when it came.
    opened.sort(key=lambda source: (source.arrived_at, source.key))
    by_day: dict[date, list[Record]] = defaultdict(list)
    for source in opened:
        for record in source.contents.records:
            stamp = record.fetched_at or source.arrived_at
            by_day[record.day].append(replace(record, fetched_at=stamp))
    for day, records in sorted(by_day.items()):
        landed = _merge(lake, dataset, day, records, simulated)
        taking.records += len(records)
        if landed is not None:
            taking.days[day] = landed
    taking._to_move = opened
    return taking


def move_away(lake: Lake, taking: Taking) -> None:
    """Move what was brought in out of the landing zone. Repeatable after a kill at any point."""
    for source in taking._to_move:
        _move(lake, source, taking)
    taking._to_move = []


def reject(lake: Lake, key: str, reason: str) -> None:
    """Set a whole object of the landing zone aside, with the reason beside it."""
    data = lake.objects.read(key)
    identity = _identity(key, data)
    _explain(lake, key, identity, [Rejection(0, reason, "")])
    lake.objects.write(_REJECTED + identity, data)
    lake.objects.delete([key])


def read_contents(dataset: Dataset, data: bytes, start: date, now: datetime) -> Contents:
    """The records of an object, and what cannot be taken of it. `start` is the first partition."""
    pieces, open_ended = _pieces(dataset, data)
    contents = Contents(open_ended=open_ended)
    for position, (value, problem) in enumerate(pieces, 1):
        read = Rejection(position, problem, _shown(value)) if problem else _read(dataset, value, position, start, now)
        if isinstance(read, Record):
            contents.records.append(read)
        else:
            contents.rejections.append(read)
    return contents


def _read(dataset: Dataset, value: Mapping[str, Any], position: int, start: date, now: datetime) -> Record | Rejection:
    try:
        return _record(dataset, value, start, now)
    except ValueError as error:
        return Rejection(position, str(error), _shown(value))


def _open(lake: Lake, dataset: Dataset, item: Arrival, start: date, now: datetime, taking: Taking) -> _Opened | None:
    """The object with its contents; None when there is nothing to take of it now."""
    if not lake.objects.exists(item.key):
        return None  # moved by an earlier run
    data = lake.objects.read(item.key)
    stored = _stored(lake, item.key)
    if stored is None or stored.version != item.version:
        taking.left[item.key] = "it is being written"
        return None
    identity = _identity(item.key, data)
    copies = [_stored(lake, place + identity) for place in (_TAKEN, _REJECTED)]
    if any(copy is not None and copy.modified_at >= stored.modified_at for copy in copies):
        # A run was killed between copying and deleting. An older copy is of an object that was put here before.
        lake.objects.delete([item.key])
        return None
    contents = read_contents(dataset, data, start, now)
    if contents.open_ended and not item.settled:
        taking.left[item.key] = "its end cannot be read, so it may still be written"
        return None
    newest = max((record.day for record in contents.records), default=start)
    if newest >= today(now):
        taking.left[item.key] = f"it holds records of {newest}, which is not over in New York"
        return None
    arrived_at = _utc(stored.modified_at.isoformat()).isoformat(timespec="microseconds")
    return _Opened(item.key, item.version, arrived_at, data, contents)


def _move(lake: Lake, source: _Opened, taking: Taking) -> None:
    rejections, whole = source.contents.rejections, not source.contents.records
    if rejections:
        _explain(lake, source.key, source.identity, rejections)
        count = "the whole object" if whole else f"{len(rejections)} of its records"
        taking.rejected[source.key] = f"{count}: {rejections[0].reason}"
    lake.objects.write((_REJECTED if whole else _TAKEN) + source.identity, source.data)
    if not whole:
        taking.taken.append(source.key)
    # Another object may have come under the same key since; it is then taken by itself.
    stored = _stored(lake, source.key)
    if stored is not None and stored.version == source.version:
        lake.objects.delete([source.key])


def _explain(lake: Lake, key: str, identity: str, rejections: Sequence[Rejection]) -> None:
    listed = [{"record": r.position, "reason": r.reason, "text": r.text} for r in rejections[:_LISTED_REJECTIONS]]
    content = {"object": key, "rejected": len(rejections), "records": listed}
    lake.objects.write(f"{_REJECTED}{identity}.reason.json", json.dumps(content, indent=1, ensure_ascii=False).encode())


def _identity(key: str, data: bytes) -> str:
    return f"{key.removeprefix(ARRIVALS)}.{hashlib.sha256(data).hexdigest()[:16]}"


def _stored(lake: Lake, key: str) -> StoredObject | None:
    return next((item for item in lake.objects.list(key) if item.key == key), None)


_Piece = tuple[Any, str | None]
"""A record as a mapping, or text that is none and what is wrong with it."""


def _pieces(dataset: Dataset, data: bytes) -> tuple[list[_Piece], bool]:
    """What is in an object, in order, and whether its end cannot be read."""
    if data.startswith(_GZIP_MAGIC):
        try:
            with gzip.GzipFile(fileobj=io.BytesIO(data)) as stream:
                data = stream.read(_MOST_BYTES + 1)
        except (EOFError, OSError, zlib.error) as error:
            return [("", f"the gzip stream cannot be read ({error})")], True
    if len(data) > _MOST_BYTES:
        return [("", f"it unpacks to more than {_MOST_BYTES >> 20} MiB")], False
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return [("", f"the object is not UTF-8 text ({error.reason} at byte {error.start})")], error.end >= len(data)
    if not text.strip():
        return [("", "the object is empty")], True
    first_line = text.split("\n", 1)[0].strip()
    if set(first_line.replace('"', "").split(",")) == set(dataset.column_names):
        return _csv_pieces(text)
    return _json_pieces(text)


def _csv_pieces(text: str) -> tuple[list[_Piece], bool]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    pieces: list[_Piece] = []
    try:
        for row in reader:
            fits = None not in row and None not in row.values()
            pieces.append(
                (row, None) if fits else (",".join(map(str, row.values())), "it has another number of fields")
            )
    except csv.Error as error:
        return [*pieces, ("", f"line {reader.line_num} is not CSV ({error})")], True
    if not pieces:
        return [("", "the file has a header and no rows")], True
    # Without a line end nobody knows whether the last value is whole.
    return pieces, not text.endswith(("\n", "\r"))


def _json_pieces(text: str) -> tuple[list[_Piece], bool]:
    decoder = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str)
    pieces: list[_Piece] = []
    position, bad_from, problem, unreadable_places = _skip_space(text, 0), -1, "", 0
    while position < len(text):
        if unreadable_places > _MOST_UNREADABLE_PLACES:
            problem = f"more than {_MOST_UNREADABLE_PLACES} places before cannot be read, so the rest was not looked at"
            pieces.append((text[position:], problem))
            break
        try:
            value, end = decoder.raw_decode(text, position)
            wrong = "" if isinstance(value, dict) else "it is no JSON object"
        except (json.JSONDecodeError, RecursionError) as error:
            unreadable_places += 1
            value, end, wrong = None, _next_start(text, position), f"it is no JSON ({error})"
        if wrong:
            # Unreadable pieces side by side are told as one.
            bad_from, problem = (position, wrong) if bad_from < 0 else (bad_from, problem)
        else:
            if bad_from >= 0:
                pieces.append((text[bad_from:position], problem))
                bad_from = -1
            pieces.append((value, None))
        position = _skip_space(text, end)
    if bad_from >= 0:
        pieces.append((text[bad_from:], problem))
    return pieces, bad_from >= 0


def _skip_space(text: str, position: int) -> int:
    while position < len(text) and text[position].isspace():
        position += 1
    return position


def _next_start(text: str, position: int) -> int:
    """Where the next record may begin after an unreadable one: on a new line, or at an opening brace."""
    starts = [n for n in (text.find("\n", position), text.find('{"', position + 1)) if n >= 0]
    return min(starts, default=len(text))


def _record(dataset: Dataset, value: Mapping[str, Any], start: date, now: datetime) -> Record:
    """Raises ValueError with the reason for a record that no day's raw file can hold."""
    assert dataset.partition_set is not None
    assert dataset.day_column is not None
    named = value.get("dataset")
    if named not in (None, dataset.name):
        raise ValueError(f"it is a record of {named}, in the landing zone of {dataset.name}")
    unknown = sorted(set(value) - set(dataset.column_names) - set(_ANNOTATIONS))
    if unknown:
        raise ValueError(f"{', '.join(unknown)} is not in the contract of {dataset.name}")
    row = {name: _text(name, value.get(name)) for name in dataset.column_names}
    for name in dataset.key:
        if row[name] is None:
            raise ValueError(f"{name} is missing")
    day, row[dataset.day_column] = _day(dataset, row[dataset.day_column] or "")
    # First, so that no trading calendar of far centuries is made.
    if day > today(now) + ONE_DAY:
        raise ValueError(f"{day} is in the future")
    if not dataset.partition_set.contains(day):
        raise ValueError(f"{day:%A} {day} is not a NYSE session")
    if day < start:
        raise ValueError(f"{day} is before the first partition {start}: set STOCK_WEATHER_START_DATE={day} or earlier")
    return Record(row, day, _fetched_at(value.get("fetched_at")))


def _text(name: str, value: Any) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str):
        raise ValueError(f"{name} is neither text nor a number")  # noqa: TRY004 - the record is wrong, not the caller
    if len(value) > _LONGEST_VALUE:
        raise ValueError(f"{name} is longer than {_LONGEST_VALUE} characters")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            # JSON can spell half of a surrogate pair, which no file can hold.
            raise ValueError(f"{name} holds characters that are no text") from None
    return value


def _day(dataset: Dataset, text: str) -> tuple[date, str]:
    """The New York day, and the one spelling that the raw layer has for this day or time."""
    column = dataset.column(dataset.day_column or "")
    try:
        if column.type is ColumnType.DATE:
            day = date.fromisoformat(text)
            return day, day.isoformat()
        moment = _utc(text)
        return new_york_day(moment), moment.isoformat(timespec="minutes" if moment.second == 0 else "seconds")
    except (ValueError, OverflowError):
        form = "2024-03-10" if column.type is ColumnType.DATE else "2024-03-10T07:00"
        raise ValueError(f"{column.name} {text[:40]!r} is not written like {form}") from None


def _utc(text: str) -> datetime:
    # Python 3.10 does not read the Z.
    moment = datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith(("Z", "z")) else text)
    return moment.astimezone(timezone.utc).replace(tzinfo=None) if moment.tzinfo else moment


def _fetched_at(value: Any) -> str | None:
    if value in (None, ""):
        return None
    try:
        return _utc(str(value)).isoformat(timespec="microseconds")
    except (ValueError, OverflowError):
        raise ValueError(f"fetched_at {str(value)[:40]!r} is not a time such as 2024-03-11T05:00:00Z") from None


def _merge(lake: Lake, dataset: Dataset, day: date, records: Sequence[Record], simulated: bool) -> LandedDay | None:
    """The day's raw file with the newest record of every key; None when it holds newer ones of all of them."""
    import pyarrow as pa

    stamps_key = f"landing_stamps/{dataset.name}/{day_path(day)}{dataset.name}.json"
    stamps = _read_stamps(lake, stamps_key)
    newest: dict[RowKey, tuple[str, Row]] = {}
    for record in records:
        key, stamp = _row_key(dataset, record.row), record.fetched_at or ""
        # Records come by arrival and position; of equally old ones the last one wins.
        if stamp >= stamps.get(_stamp_name(key), "") and (key not in newest or stamp >= newest[key][0]):
            newest[key] = (stamp, record.row)
    if not newest:
        return None
    held = [row for row in _held_rows(lake, dataset, day) if _row_key(dataset, row) not in newest]
    rows = [*held, *(row for _, row in newest.values())]
    table = pa.Table.from_pylist(rows, schema=dataset.raw_schema).append_column(
        PARTITION_DAY, pa.array([day] * len(rows), pa.date32())
    )
    landed = land(lake, dataset, [day], [Fetched(day, day, table, 0, simulated)], None).days[day]
    stamps.update({_stamp_name(key): stamp for key, (stamp, _) in newest.items()})
    lake.objects.write(stamps_key, json.dumps(stamps, indent=0, sort_keys=True).encode())
    _note_complete(lake, dataset, day, rows)
    return landed


def _read_stamps(lake: Lake, key: str) -> dict[str, str]:
    if not lake.objects.exists(key):
        return {}
    try:
        content: dict[str, str] = json.loads(lake.objects.read(key))
    except ValueError as error:
        raise LakeError(
            f"{lake.objects.uri(key)} is damaged ({error}): delete it, then the next record to arrive wins."
        ) from error
    return content


def _stamp_name(key: RowKey) -> str:
    return json.dumps(key, ensure_ascii=False)


def _held_rows(lake: Lake, dataset: Dataset, day: date) -> list[Row]:
    """The rows of the day's raw file; none of a file that is damaged, which stays as a superseded one."""
    key = external_table(dataset, Layer.RAW).key(day)
    if not lake.objects.exists(key):
        return []
    try:
        reader = csv.DictReader(io.StringIO(lake.objects.read(key).decode(), newline=""), strict=True)
        if tuple(reader.fieldnames or ()) != dataset.column_names:
            return []
        return [{name: row[name] or None for name in dataset.column_names} for row in reader]
    except (UnicodeDecodeError, csv.Error):
        return []


def _row_key(dataset: Dataset, row: Mapping[str, str | None]) -> RowKey:
    def spelled(name: str) -> str:
        text = row[name] or ""
        if name != dataset.day_column:
            return text
        try:
            return _day(dataset, text)[1]
        except ValueError:
            return text  # junk that a vendor sent; it equals nothing

    return tuple(spelled(name) for name in dataset.key)


def _note_complete(lake: Lake, dataset: Dataset, day: date, rows: Sequence[Row]) -> None:
    """Entities whose day arrived whole need not be asked of the vendor."""
    keys: dict[str, set[RowKey]] = defaultdict(set)
    for row in rows:
        keys[row[dataset.entity] or ""].add(_row_key(dataset, row))
    whole = [entity for entity, found in keys.items() if entity and len(found) >= dataset.rows_per_entity(day)]
    if whole:
        coverage.add(lake, dataset, whole, day, day)


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text[:_SHOWN_CHARACTERS].encode("utf-8", "replace").decode()
