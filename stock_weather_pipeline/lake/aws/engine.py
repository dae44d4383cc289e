"""The SQL engine of the AWS deployment: Athena reads and types; Glue partitions decide which files count.

Every replacement of days writes below a location of its own and then points the days at it, so that a reader sees the
old rows or the new ones, and a killed or repeated attempt leaves only files that nothing points at.
"""

from __future__ import annotations

import io
import random
import re
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, TypeVar

from stock_weather_pipeline.errors import QueryError, TransientQueryError
from stock_weather_pipeline.lake import dialect
from stock_weather_pipeline.lake.aws.athena import Athena, Running
from stock_weather_pipeline.lake.aws.catalog import GlueCatalog
from stock_weather_pipeline.lake.aws.cost import QUERY_COSTS, Ledger, rows, total
from stock_weather_pipeline.lake.aws.objects import S3Objects
from stock_weather_pipeline.lake.interfaces import Output, Spent, StoredDay, StoredObject
from stock_weather_pipeline.lake.layout import PROD_DATABASE, Day, ExternalTable, day_of_key, day_path
from stock_weather_pipeline.lake.parquet_files import first_rows
from stock_weather_pipeline.sources.base import PARTITION_DAY

if TYPE_CHECKING:
    import pyarrow as pa

# What an UNLOAD may write at most.
PARTITIONS_AT_ONCE = 100
_RUNNING_AT_ONCE = 5
_TRIES = 3
_ATTEMPT = re.compile(r"attempt=([0-9a-f]+)/")

_Result = TypeVar("_Result")


class AthenaEngine:
    """Statements on Athena, and the days of Parquet tables."""

    def __init__(self, athena: Athena, catalog: GlueCatalog, objects: S3Objects, ledger: Ledger) -> None:
        self._athena = athena
        self._catalog = catalog
        self._objects = objects
        self._ledger = ledger
        self._costs_defined = False

    def query(self, sql: str) -> pa.Table:
        expression = dialect.parse(sql)
        try:
            return _tried(lambda: self._athena.table(_bare(sql)))
        except QueryError as error:
            if "TABLE_NOT_FOUND" not in str(error):
                raise
            raise self._unknown(dialect.table_references(expression), error) from error

    def unload(self, sql: str, outputs: Sequence[Output], days: Sequence[Day]) -> None:
        dialect.parse(sql)
        batches = [list(days[n : n + PARTITIONS_AT_ONCE]) for n in range(0, len(days), PARTITIONS_AT_ONCE)]
        jobs = [_Unload(_bare(sql), output, batch) for output in outputs for batch in batches]
        self._run(jobs)
        # Only now, when everything is written: a failure before leaves the old rows of every day.
        for output in outputs:
            done = [job for job in jobs if job.output is output]
            locations: dict[Day, str | None] = {}
            for job in done:
                locations |= self._written(job)
            self._catalog.point(output.table, locations)

    def write(self, table: ExternalTable, rows: pa.Table, days: Sequence[Day]) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        if not days:
            return
        schema = pa.schema([pa.field(c.name, c.type.arrow, nullable=c.nullable) for c in table.columns])
        attempt = _attempt(table)
        locations: dict[Day, str | None] = {}
        for day in days:
            of_day = pc.is_null(rows[PARTITION_DAY]) if day is None else pc.equal(rows[PARTITION_DAY], day)
            chosen = rows.filter(of_day).drop_columns([PARTITION_DAY])
            place = f"{attempt}{day_path(day)}"
            if chosen.num_rows:
                buffer = io.BytesIO()
                pq.write_table(chosen.cast(schema), buffer, compression="zstd")
                self._objects.write(f"{place}{table.name}.parquet", buffer.getvalue())
            locations[day] = self._objects.uri(place) if chosen.num_rows or day is None else None
        self._catalog.point(table, locations)

    def stored(self, table: ExternalTable, days: Sequence[Day]) -> dict[Day, StoredDay]:
        if not days:
            return {}
        locations = self._catalog.locations(table, days)
        if not table.partitioned and None in locations and not self._objects.list(self._key(locations[None])):
            return {}
        return {day: StoredDay(_version(location), location) for day, location in locations.items()}

    def sample(self, table: ExternalTable, day: Day, rows: int) -> list[dict[str, Any]]:
        location = self._catalog.locations(table, [day]).get(day)
        files = self._objects.list(self._key(location)) if location else []
        return first_rows(self._objects.read(files[0].key), rows) if files else []

    def keep(self, table: ExternalTable, days: Sequence[Day]) -> None:
        return  # Athena reads what it scans

    def delete_unneeded(self, table: ExternalTable, safety_age: timedelta) -> list[StoredObject]:
        oldest = datetime.now(timezone.utc) - safety_age
        # Listed before the partitions are read: a file that is pointed at in between is known to be needed.
        objects = [(item, *found) for item in self._objects.list(table.prefix) if (found := _attempted_day(item.key))]
        current = {day: self._key(location) for day, location in self._catalog.all_locations(table).items()}
        replaced_at: dict[Day, datetime] = {}
        needed: set[str] = set()
        for item, day in objects:
            if day in current and item.key.startswith(current[day]):
                needed.add(item.key)
                replaced_at[day] = max(item.modified_at, replaced_at.get(day, item.modified_at))
        unneeded = []
        for item, day in objects:
            # Not while a query that began before the day was replaced may still read it.
            replaced = replaced_at.get(day, item.modified_at)
            if item.key not in needed and max(item.modified_at, replaced) < oldest:
                unneeded.append(item)
        self._objects.delete([item.key for item in unneeded])
        return unneeded

    def settle(self, run_id: str, step: str) -> Spent | None:
        import pyarrow.parquet as pq

        costs = self._ledger.take()
        if costs:
            if not self._costs_defined:
                self._catalog.put_table(QUERY_COSTS)
                self._costs_defined = True
            buffer = io.BytesIO()
            pq.write_table(rows(costs, run_id, step), buffer, compression="zstd")
            day = min(cost.started_at for cost in costs).date()
            self._objects.write(f"{QUERY_COSTS.prefix}{day_path(day)}{costs[0].query_id}.parquet", buffer.getvalue())
        return total(costs)

    def _run(self, jobs: Sequence[_Unload]) -> None:
        """Run every job, some at a time. When one fails, or the run is cancelled, the others are stopped."""
        waiting = deque(jobs)
        running: deque[tuple[_Unload, Running]] = deque()
        try:
            while waiting or running:
                while waiting and len(running) < _RUNNING_AT_ONCE:
                    job = waiting.popleft()
                    job.tries += 1
                    job.attempt = _attempt(job.output.table)
                    running.append((job, self._athena.start(job.statement(self._objects.uri(job.attempt)))))
                job, query = running.popleft()
                try:
                    self._athena.wait(query)
                except TransientQueryError:
                    if job.tries == _TRIES:
                        raise
                    _pause(job.tries)
                    waiting.appendleft(job)
        except BaseException:
            for _, query in running:
                self._athena.stop(query)
            raise

    def _written(self, job: _Unload) -> dict[Day, str | None]:
        """Where an UNLOAD has left the rows of its days."""
        if not job.output.table.partitioned:
            return {None: self._objects.uri(job.attempt)}
        found = {day_of_key(item.key.removeprefix(job.attempt)) for item in self._objects.list(job.attempt)}
        return {day: self._objects.uri(f"{job.attempt}{day_path(day)}") if day in found else None for day in job.days}

    def _key(self, uri: str) -> str:
        return uri.removeprefix("s3://").split("/", 1)[1]

    def _unknown(self, references: Sequence[tuple[str | None, str]], error: QueryError) -> QueryError:
        for named, name in references:
            database = named or PROD_DATABASE
            known = self._catalog.names(database)
            if name not in known:
                listed = ", ".join(known) or "nothing yet: run `stock-weather run` first"
                return QueryError(f"There is no table or view {database}.{name}; {database} holds {listed}.")
        return error


@dataclass
class _Unload:
    """One UNLOAD: rows of one output on at most PARTITIONS_AT_ONCE days. `attempt` is the prefix of its last try."""

    sql: str
    output: Output
    days: list[Day]
    tries: int = 0
    attempt: str = ""

    def statement(self, location: str) -> str:
        options = "format = 'PARQUET', compression = 'ZSTD'"
        select = f"SELECT {self.output.select}"
        where = f"({self.output.where})"
        if self.output.table.partitioned:
            options += ", partitioned_by = ARRAY['year', 'month', 'day']"
            parts = "".join(
                f", date_format({PARTITION_DAY}, '{form}') AS {name}"
                for name, form in (("year", "%Y"), ("month", "%m"), ("day", "%d"))
            )
            select += parts
            where += f" AND {_on_days(self.days)}"
        selected = f"WITH unloaded AS ({self.sql}) {select} FROM unloaded WHERE {where}"
        return f"UNLOAD ({selected}) TO '{location}' WITH ({options})"


def _on_days(days: Sequence[Day]) -> str:
    dates = sorted(day for day in days if isinstance(day, date))
    listed = ", ".join(f"DATE '{day}'" for day in dates)
    return f"{PARTITION_DAY} IN ({listed})"


def _attempt(table: ExternalTable) -> str:
    return f"{table.prefix}attempt={uuid.uuid4().hex}/"


def _attempted_day(key: str) -> tuple[Day] | None:
    """The day that an attempt's file is of; None for a file that no attempt has written."""
    found = _ATTEMPT.search(key)
    if found is None:
        return None
    try:
        return (day_of_key(key[found.end() :]),)
    except ValueError:
        return None


def _version(location: str) -> str:
    found = _ATTEMPT.search(location)
    return found.group(1) if found else location


def _bare(sql: str) -> str:
    return sql.strip().rstrip(";").rstrip()


def _tried(call: Callable[[], _Result]) -> _Result:
    """The result of a call that changes nothing, repeated while Athena fails for a moment."""
    for n in range(1, _TRIES):
        with suppress(TransientQueryError):
            return call()
        _pause(n)
    return call()


def _pause(tries: int) -> None:
    time.sleep(random.uniform(0, 2.0**tries))
