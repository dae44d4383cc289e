"""Upkeep of one Iceberg table: compaction, expiry of snapshots, deletion of files that no kept snapshot needs.

The same code on a folder and on S3: files are read, written and deleted through the table's own FileIO, and listed by
a function that is given. When upkeep runs, and what is reported of it, is decided by the layers.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from stock_weather_pipeline.datasets import Dataset
from stock_weather_pipeline.errors import ConflictError, LakeError
from stock_weather_pipeline.lake.interfaces import TableMaintenance

if TYPE_CHECKING:
    from pyiceberg.expressions import BooleanExpression
    from pyiceberg.table import FileScanTask, Table
    from pyiceberg.table.snapshots import Snapshot

PUBLISH_ID = "publish-id"
PUBLISHED_AT_MS = "published-at-ms"
OPERATION_KIND = "operation-kind"
COMPACTION = "compaction"

_ATTEMPTS = 5


@dataclass(frozen=True)
class StoredFile:
    """A file below a table's location, spelled as the table's metadata spells it."""

    location: str
    modified_at: datetime
    size_bytes: int


ListFiles = Callable[[str], Iterable[StoredFile]]
"""Lists every file below a table's location."""


FileError = Callable[[str, str, OSError], LakeError]
"""The sentence for a failed file operation: a verb, where, what happened."""


def maintain(
    load: Callable[[], Table | None],
    dataset: Dataset,
    keep_publishes: int,
    safety_age: timedelta,
    list_files: ListFiles,
    file_error: FileError,
) -> TableMaintenance | None:
    """Compact, expire and delete, in this order; None when there is no table yet.

    `load` loads the table anew at every call. The newest `keep_publishes` publishes stay, and with them every snapshot
    that was current within `safety_age`, since a query that began then may still read its files. A file younger than
    `safety_age` is never deleted: a running publish writes its files before it commits them.

    Raises ConflictError when other writers keep winning, LakeError when files of the table are missing.
    """
    if keep_publishes < 1:
        raise ValueError("at least the current publish is kept")
    table = load()
    if table is None:
        return None
    before = _files_per_month(table)
    snapshots_before = len(table.metadata.snapshots)
    try:
        rows_rewritten = compact(load, dataset)
        expire(load, keep_publishes, safety_age)
        deleted = delete_unneeded_files(load, safety_age, list_files)
    except OSError as error:
        raise file_error("maintain", _path(table.location()), error) from error
    table = _loaded(load)
    return TableMaintenance(
        files_per_month_before=before,
        files_per_month_after=_files_per_month(table),
        rows_rewritten=rows_rewritten,
        snapshots_before=snapshots_before,
        snapshots_after=len(table.metadata.snapshots),
        files_deleted=len(deleted),
        bytes_deleted=sum(file.size_bytes for file in deleted),
    )


def compact(load: Callable[[], Table | None], dataset: Dataset) -> int:
    """Rewrite every month of more than one file into one file sorted by key, all in one commit; rows rewritten.

    The snapshot carries the summary of the publish whose rows it holds, so that for history and rollback it is that
    publish: going back undoes the publish before a compaction, and a compaction below it stays.
    """
    from pyiceberg.io.pyarrow import ArrowScan, _dataframe_to_data_files

    by_key = [(name, "ascending") for name in dataset.key]

    def attempt() -> int:
        table = _loaded(load)
        scattered = {month: tasks for month, tasks in _months(table).items() if len(tasks) > 1}
        current = table.current_snapshot()
        if not scattered or current is None:
            return 0
        scan = ArrowScan(table.metadata, table.io, table.schema(), _everything())
        rewritten = 0
        # PyIceberg has no public rewrite. Written month by month, so that one month at a time is in memory.
        with (
            table.transaction() as transaction,
            transaction.update_snapshot(snapshot_properties=_compaction_summary(current)).overwrite() as update,
        ):
            for tasks in scattered.values():
                rows = scan.to_table(tasks).cast(dataset.arrow_schema).sort_by(by_key)
                rewritten += rows.num_rows
                for task in tasks:
                    update.delete_data_file(task.file)
                for file in _dataframe_to_data_files(table.metadata, rows, table.io, uuid.uuid4()):
                    update.append_data_file(file)
        return rewritten

    return _repeated(load, attempt)


def expire(load: Callable[[], Table | None], keep_publishes: int, safety_age: timedelta) -> int:
    """Forget the snapshots that neither a kept publish nor a running query needs; how many. Deletes no file."""

    def attempt() -> int:
        table = _loaded(load)
        kept = _kept_publishes(table, keep_publishes)
        kept.update(ref.snapshot_id for ref in table.metadata.refs.values())
        oldest_ms = (datetime.now(timezone.utc) - safety_age).timestamp() * 1000
        superseded_ms = _superseded_ms(table)
        expired = [
            snapshot.snapshot_id
            for snapshot in table.metadata.snapshots
            if snapshot.snapshot_id not in kept
            and superseded_ms.get(snapshot.snapshot_id, snapshot.timestamp_ms) < oldest_ms
        ]
        if expired:
            table.maintenance.expire_snapshots().by_ids(expired).commit()
        return len(expired)

    return _repeated(load, attempt)


def delete_unneeded_files(
    load: Callable[[], Table | None], safety_age: timedelta, list_files: ListFiles
) -> list[StoredFile]:
    """Delete the files below the table's location that nothing in its metadata names, and return them.

    The metadata is read again after listing, so that a file listed and committed in between is known to be needed.
    """
    table = _loaded(load)
    live = {_path(task.file.file_path) for task in table.scan().plan_files()}
    too_young = datetime.now(timezone.utc) - safety_age
    listed = {_path(file.location): file for file in list_files(table.location())}
    missing = live - set(listed)
    if missing:
        # Also what it looks like when the folder was moved: then every file would seem unneeded.
        raise LakeError(
            f"{len(missing)} files that {table.name()[-1]} needs are not below {table.location()}, such as "
            f"{min(missing)}: nothing was deleted. Restore them from a backup, or roll the table back."
        )
    needed = _needed(_loaded(load))
    unneeded = [file for path, file in listed.items() if path not in needed and file.modified_at < too_young]
    for file in unneeded:
        table.io.delete(file.location)
    return unneeded


def _repeated(load: Callable[[], Table | None], attempt: Callable[[], int]) -> int:
    """Try again from the table's new state when another writer was faster."""
    from pyiceberg.exceptions import CommitFailedException

    for _ in range(_ATTEMPTS - 1):
        with suppress(CommitFailedException):
            return attempt()
    try:
        return attempt()
    except CommitFailedException as error:
        raise ConflictError(
            f"{_loaded(load).name()[-1]} was changed by other runs {_ATTEMPTS} times during its maintenance: it is "
            "as they left it. Let them finish, then run the maintenance again."
        ) from error


def _loaded(load: Callable[[], Table | None]) -> Table:
    table = load()
    if table is None:
        raise LakeError("The table was dropped during its maintenance: run it again.")
    return table


def _everything() -> BooleanExpression:
    from pyiceberg.expressions import AlwaysTrue

    return AlwaysTrue()


def _months(table: Table) -> Mapping[str, list[FileScanTask]]:
    """The data files of the current snapshot by month, `all` for a table without partitions."""
    from pyiceberg.transforms import MonthTransform
    from pyiceberg.types import DateType

    months: dict[str, list[FileScanTask]] = {}
    if table.current_snapshot() is None:
        return months
    for task in table.scan().plan_files():
        partition = task.file.partition
        month = MonthTransform().to_human_string(DateType(), partition[0]) if len(partition) else "all"
        months.setdefault(month, []).append(task)
    return dict(sorted(months.items()))


def _files_per_month(table: Table) -> dict[str, int]:
    return {month: len(tasks) for month, tasks in _months(table).items()}


def _compaction_summary(current: Snapshot) -> dict[str, str]:
    held = dict(current.summary.additional_properties) if current.summary is not None else {}
    # What PyIceberg counts itself must not be handed on from another snapshot.
    told = {k: v for k, v in held.items() if not k.startswith(("added-", "deleted-", "total-", "removed-", "changed-"))}
    told.setdefault(PUBLISH_ID, str(current.snapshot_id))
    told.setdefault(PUBLISHED_AT_MS, str(current.timestamp_ms))
    return {**told, OPERATION_KIND: COMPACTION}


def _kept_publishes(table: Table, keep_publishes: int) -> set[int]:
    """The lineage down to the newest snapshot of the last publish that is kept."""
    kept: set[int] = set()
    publishes: set[str] = set()
    snapshot = table.current_snapshot()
    while snapshot is not None:
        summary = snapshot.summary.additional_properties if snapshot.summary is not None else {}
        publishes.add(summary.get(PUBLISH_ID, str(snapshot.snapshot_id)))
        kept.add(snapshot.snapshot_id)
        if len(publishes) == keep_publishes:
            break
        parent = snapshot.parent_snapshot_id
        snapshot = table.snapshot_by_id(parent) if parent is not None else None
    return kept


def _superseded_ms(table: Table) -> dict[int, int]:
    """When each snapshot that was once current ceased to be, in ms since 1970; the current one is left out."""
    log = table.metadata.snapshot_log
    return {entry.snapshot_id: log[n].timestamp_ms for n, entry in enumerate(log[:-1], start=1)}


def _needed(table: Table) -> set[str]:
    """Every file that the metadata names: of all its snapshots, and the metadata itself."""
    metadata = table.metadata
    files = [table.metadata_location, *(entry.metadata_file for entry in metadata.metadata_log)]
    files += [statistics.statistics_path for statistics in (*metadata.statistics, *metadata.partition_statistics)]
    manifests = {}
    for snapshot in metadata.snapshots:
        files.append(snapshot.manifest_list)
        manifests.update({manifest.manifest_path: manifest for manifest in snapshot.manifests(table.io)})
    files += manifests
    for manifest in manifests.values():
        files += [entry.data_file.file_path for entry in manifest.fetch_manifest_entry(table.io)]
    return {_path(file) for file in files}


def _path(location: str) -> str:
    return location.removeprefix("file://")
