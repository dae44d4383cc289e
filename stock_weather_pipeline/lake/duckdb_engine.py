"""The SQL engine of the local deployment: DuckDB in process, reading the lake's files, in Athena's dialect.

Iceberg tables are read from the file list PyIceberg plans: DuckDB's own iceberg extension is a download.
"""

from __future__ import annotations

import io
import re
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stock_weather_pipeline.errors import LakeError, QueryError, UnreadableFileError
from stock_weather_pipeline.lake import dialect
from stock_weather_pipeline.lake.interfaces import Contents, Output, Spent, StoredDay, StoredObject
from stock_weather_pipeline.lake.layout import DAY_COLUMNS, PROD_DATABASE, Day, ExternalTable, Layer, text_list
from stock_weather_pipeline.lake.local_catalog import LocalCatalog
from stock_weather_pipeline.lake.local_objects import LocalObjects
from stock_weather_pipeline.lake.parquet_files import first_rows
from stock_weather_pipeline.sources.base import PARTITION_DAY

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from stock_weather_pipeline.lake.iceberg import IcebergTables, SnapshotRow


SNAPSHOTS = "$snapshots"
_MEMORY = "600MB"
# Of files of which the rows are kept: five years of one ticker have a tenth of it.
_MOST_KEPT_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True)
class _Kept:
    """Rows of some files of a table, which stand for the files as long as these have the versions that were read."""

    name: str
    table: ExternalTable
    versions: Mapping[str, str]
    rows: pa.Table


class DuckDbEngine:
    """Every statement has a session to itself, which sees the tables that the statement names."""

    def __init__(self, objects: LocalObjects, catalog: LocalCatalog, tables: IcebergTables) -> None:
        self._objects = objects
        self._catalog = catalog
        self._tables = tables
        self._idle: list[_Session] = []
        self._kept: dict[Layer, _Kept] = {}

    def query(self, sql: str) -> pa.Table:
        with self._prepared(sql) as (connection, statement):
            return connection.sql(statement).to_arrow_table()

    def unload(self, sql: str, outputs: Sequence[Output], days: Sequence[Day]) -> None:
        with self._prepared(sql) as (connection, statement):
            connection.execute(f"CREATE TEMP TABLE unloaded AS {statement}")
            for output in outputs:
                key = ", ".join(f'"{column.name}"' for column in output.table.columns)
                select = dialect.to_duckdb(
                    dialect.parse(
                        f"SELECT {output.select}, {PARTITION_DAY} FROM unloaded WHERE {output.where} "
                        f"ORDER BY {PARTITION_DAY}, {key}"
                    )
                )
                reader = connection.sql(select).to_arrow_reader(100_000)
                self._write_days(output.table, reader, days)

    def write(self, table: ExternalTable, rows: pa.Table, days: Sequence[Day]) -> None:
        self._write_days(table, rows.sort_by(PARTITION_DAY).to_batches(), days)

    def _write_days(self, table: ExternalTable, batches: Iterable[pa.RecordBatch], days: Sequence[Day]) -> None:
        import pyarrow.parquet as pq

        schema = _file_schema(table)
        written: set[Day] = set()
        for day, rows in _by_day(batches):
            buffer = io.BytesIO()
            # What a day holds hardly repeats: with dictionaries its file is larger, and takes longer to write.
            pq.write_table(rows.cast(schema), buffer, compression="zstd", use_dictionary=False)
            self._objects.write(table.key(day), buffer.getvalue())
            written.add(day)
        self._objects.delete([table.key(day) for day in days if day not in written])

    def stored(self, table: ExternalTable, days: Sequence[Day]) -> dict[Day, StoredDay]:
        return {
            day: StoredDay(item.version, self._objects.uri(item.key))
            for day, item in self._objects_of(table, days).items()
        }

    def sample(self, table: ExternalTable, day: Day, rows: int) -> list[dict[str, Any]]:
        return first_rows(self._objects.read(table.key(day)), rows) if self._objects.exists(table.key(day)) else []

    def keep(self, table: ExternalTable, days: Sequence[Day]) -> None:
        import duckdb

        found = self._objects_of(table, days).values()
        versions = {item.key: item.version for item in found}
        held = self._kept.pop(table.layer, None)
        if held is not None and held.table == table and versions.items() <= held.versions.items():
            self._kept[table.layer] = held
        elif found and sum(item.size_bytes for item in found) <= _MOST_KEPT_BYTES:
            files = [self._objects.path(key) for key in versions]
            # A file that cannot be read is told by the statement that needs it.
            with suppress(duckdb.Error), self._session() as session:
                rows = session.connection.sql(_files_sql(table, files)).to_arrow_table()
                self._kept[table.layer] = _Kept(f"kept_{uuid.uuid4().hex}", table, versions, rows)

    def _objects_of(self, table: ExternalTable, days: Sequence[Day]) -> dict[Day, StoredObject]:
        """The files of these days; a day without one is left out."""
        if not days:
            return {}
        wanted = {table.key(day): day for day in days}
        listed = self._objects.list(table.prefix_of(days))
        return {wanted[item.key]: item for item in listed if item.key in wanted}

    def delete_unneeded(self, table: ExternalTable, safety_age: timedelta) -> list[StoredObject]:
        return []  # a day is one file, replaced in place

    def settle(self, run_id: str, step: str) -> Spent | None:
        return None

    @contextmanager
    def _prepared(self, sql: str) -> Iterator[tuple[duckdb.DuckDBPyConnection, str]]:
        import duckdb

        expression = dialect.parse(sql)
        try:
            with self._session() as session:
                for database, name in dialect.table_references(expression):
                    session.register(database or PROD_DATABASE, name)
                yield session.connection, dialect.to_duckdb(expression, schema=session.schema)
        except duckdb.Error as error:
            raise _translated(error) from error

    @contextmanager
    def _session(self) -> Iterator[_Session]:
        session = self._idle.pop() if self._idle else _Session(self)
        try:
            yield session
        except BaseException:
            session.connection.close()
            raise
        session.finish()
        self._idle.append(session)

    def _versions(self, table: ExternalTable) -> dict[str, str]:
        """The files of a table with their versions, by key: every one of its kind in the folder of a day."""
        depth = len(DAY_COLUMNS) if table.partitioned else 0
        suffix = f".{table.layer.suffix}"
        return {
            item.key: item.version
            for item in self._objects.list(table.prefix)
            if item.key.endswith(suffix)
            and [part.split("=")[0] for part in item.key.removeprefix(table.prefix).split("/")[:-1]]
            == list(DAY_COLUMNS)[:depth]
        }

    def _external_sql(self, table: ExternalTable, session: _Session) -> str:
        """DuckDB SQL for a table over files: the rows that are kept, and the files of the others."""
        versions = self._versions(table)
        kept = self._kept.get(table.layer)
        if kept is None or kept.table != table or not kept.versions.items() <= versions.items():
            return _files_sql(table, [self._objects.path(key) for key in versions])
        session.connection.register(kept.name, kept.rows)
        session.registered.append(kept.name)
        others = [self._objects.path(key) for key in versions if key not in kept.versions]
        columns = ", ".join(f'"{name}"' for name in kept.rows.column_names)
        of_files = f" UNION ALL {_files_sql(table, others)}" if others else ""
        return f"SELECT {columns} FROM {kept.name}{of_files}"

    def relation_sql(self, database: str, name: str, session: _Session) -> str | None:
        """DuckDB SQL for a table or view, or None when there is no such name."""
        table = self._catalog.get_table(database, name)
        if table is not None:
            return self._external_sql(table, session)
        if database != PROD_DATABASE:
            return None
        if name.endswith(SNAPSHOTS):
            base = name.removesuffix(SNAPSHOTS)
            return snapshots_sql(self._tables.snapshots(base)) if self._tables.exists(base) else None
        held = self._tables.contents(name)
        return None if held is None else _iceberg_sql(held)

    def view_sql(self, database: str, name: str) -> str | None:
        view = self._catalog.get_view(name) if database == PROD_DATABASE else None
        return view.sql if view is not None else None

    def names(self, database: str) -> list[str]:
        prod = self._tables.names() if database == PROD_DATABASE else []
        return sorted({*self._catalog.names(database), *prod})


_Version = tuple[Any, ...]
"""The SQL of a table or view with the versions of what it reads."""


class _Session:
    """A DuckDB in memory, with the tables and views its statement sees as DuckDB views, and their column types.

    Kept between statements, since making one takes longer than most of them; a view whose text is still the same is not
    made again. One statement at a time.
    """

    def __init__(self, engine: DuckDbEngine) -> None:
        import duckdb

        self.connection = duckdb.connect(
            ":memory:",
            config={
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
                # Files are replaced in place, and memory is for the statement.
                "enable_external_file_cache": "false",
                # What needs more goes on in a folder of its own, which is made only then and removed with the session.
                "memory_limit": _MEMORY,
                "temp_directory": str(Path(tempfile.gettempdir()) / f"stock-weather-{uuid.uuid4().hex}"),
            },
        )
        self.schema: dict[tuple[str, str], dict[str, str]] = {}
        self.registered: list[str] = []
        """Names of Arrow tables that the statement sees."""
        self._engine = engine
        self._made: dict[tuple[str, str], _Version] = {}
        self._seen: set[tuple[str, str]] = set()
        databases = "".join(f"CREATE SCHEMA {layer.database};" for layer in Layer)
        self.connection.execute(
            f"SET TimeZone = 'UTC'; {databases} CREATE SCHEMA {PROD_DATABASE}; SET schema = '{PROD_DATABASE}'"
        )

    def register(self, database: str, name: str) -> _Version:
        """Make a table or view known as it is now. What it returns differs when the definition does."""
        table = (database, name)
        if table in self._seen:
            return self._made[table]
        view = self._engine.view_sql(database, name)
        sql = view or self._engine.relation_sql(database, name, self)
        if sql is None:
            known = ", ".join(self._engine.names(database)) or "nothing yet: run `stock-weather run` first"
            raise QueryError(f"There is no table or view {database}.{name}; {database} holds {known}.")
        expression = dialect.parse(view) if view else None
        inner = dialect.table_references(expression) if expression else []
        version = (sql, *(self.register(inner_database or PROD_DATABASE, name) for inner_database, name in inner))
        if self._made.get(table) != version:
            statement = dialect.to_duckdb(expression, schema=self.schema) if expression else sql
            self.connection.execute(f'CREATE OR REPLACE VIEW {database}."{name}" AS {statement}')
            described = self.connection.execute(f'DESCRIBE {database}."{name}"').fetchall()
            self.schema[table] = {column: kind for column, kind, *_ in described}
            self._made[table] = version
        self._seen.add(table)
        return version

    def finish(self) -> None:
        """The next statement looks at every table anew."""
        self.connection.execute("DROP TABLE IF EXISTS unloaded")
        for name in self.registered:
            self.connection.unregister(name)
        self.registered.clear()
        self._seen.clear()


def _readable_first(files: list[Path], table: ExternalTable) -> list[Path]:
    """The files with one at the start that is in order: DuckDB takes the columns from the first, whatever is read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = [column.name for column in table.columns]
    for n, file in enumerate(files):
        with suppress(OSError, pa.ArrowException):
            if pq.read_schema(file).names == names:
                return [file, *files[:n], *files[n + 1 :]]
    return files


def _files_sql(table: ExternalTable, files: list[Path]) -> str:
    names = ", ".join(f'"{column.name}"' for column in table.columns)
    days = ", ".join(DAY_COLUMNS)
    partitions = f", {days}" if table.partitioned else ""
    if not files:
        empty = ", ".join(f'CAST(NULL AS {column.type.value}) AS "{column.name}"' for column in table.columns)
        no_days = "".join(f", CAST(NULL AS VARCHAR) AS {name}" for name in DAY_COLUMNS) if table.partitioned else ""
        return f"SELECT {empty}{no_days} WHERE false"
    hive = "hive_partitioning = true, hive_types_autocast = false" if table.partitioned else "hive_partitioning = false"
    if table.layer is Layer.RAW:
        columns = ", ".join(f"'{column.name}': 'VARCHAR'" for column in table.columns)
        return (
            f"SELECT {names}{partitions} FROM read_csv({_file_list(files)}, columns = {{{columns}}}, "
            f"auto_detect = false, header = true, delim = ',', quote = '\"', escape = '\"', new_line = '\\n', {hive})"
        )
    return f"SELECT {names}{partitions} FROM read_parquet({_file_list(_readable_first(files, table))}, {hive})"


def _iceberg_sql(held: Contents) -> str:
    if not held.files:
        empty = ", ".join(f'CAST(NULL AS {kind}) AS "{column}"' for column, kind in held.columns)
        return f"SELECT {empty} WHERE false"
    paths = _file_list([Path(file) for file in held.files])
    names = ", ".join(f'"{column}"' for column, _ in held.columns)
    return f"SELECT {names} FROM read_parquet({paths})"


def snapshots_sql(snapshots: Sequence[SnapshotRow]) -> str:
    """The snapshots of a table with the columns of Athena's metadata table."""
    columns = {
        "committed_at": "TIMESTAMP WITH TIME ZONE",
        "snapshot_id": "BIGINT",
        "parent_id": "BIGINT",
        "operation": "VARCHAR",
        "manifest_list": "VARCHAR",
        "summary": "MAP(VARCHAR, VARCHAR)",
    }
    typed = ", ".join(f'CAST("{column}" AS {kind}) AS "{column}"' for column, kind in columns.items())
    rows = [", ".join(_literal(value) for value in row) for row in snapshots]
    values = ", ".join(f"({row})" for row in rows) or f"({', '.join(['NULL'] * len(columns))})"
    quoted = ", ".join(f'"{column}"' for column in columns)
    return f'SELECT {typed} FROM (VALUES {values}) AS t({quoted}) WHERE "committed_at" IS NOT NULL'


def _literal(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, dict):
        entries = ", ".join(f"{_literal(key)}: {_literal(entry)}" for key, entry in value.items())
        return f"MAP {{{entries}}}"
    return str(value) if isinstance(value, int) else "'" + str(value).replace("'", "''") + "'"


def _file_list(files: Sequence[Path]) -> str:
    """DuckDB's list of exactly these files: it would take `*`, `?` and `[` in a path for a pattern."""
    escaped = (re.sub(r"[*?\[]", r"[\g<0>]", str(file)) for file in files)
    return f"[{text_list(escaped)}]"


def _file_schema(table: ExternalTable) -> pa.Schema:
    import pyarrow as pa

    return pa.schema([pa.field(c.name, c.type.arrow, nullable=c.nullable) for c in table.columns])


def _by_day(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[Day, pa.Table]]:
    """Whole days of batches sorted by PARTITION_DAY, which is dropped."""
    import pyarrow as pa

    open_day: Day = None
    parts: list[pa.RecordBatch] = []
    for batch in batches:
        if batch.num_rows == 0:
            continue
        days = batch.column(PARTITION_DAY)
        rows = batch.drop_columns([PARTITION_DAY])
        start = 0
        for day, stop in _runs(days):
            if parts and day != open_day:
                yield open_day, pa.Table.from_batches(parts)
                parts = []
            open_day = day
            parts.append(rows.slice(start, stop - start))
            start = stop
    if parts:
        yield open_day, pa.Table.from_batches(parts)


def _runs(days: pa.Array) -> Iterator[tuple[date | None, int]]:
    """(value, end of its run) for each run of equal values."""
    import pyarrow.compute as pc

    encoded = pc.run_end_encode(days)
    yield from zip(encoded.values.to_pylist(), encoded.run_ends.to_pylist(), strict=True)


def _translated(error: duckdb.Error) -> LakeError:
    import duckdb

    text = str(error).strip()
    first = text.splitlines()[0]
    if "No space left" in text:
        return LakeError(f"The disk is full: free space or set STOCK_WEATHER_HOME to another disk ({first}).")
    reads_files = isinstance(error, (duckdb.IOException, duckdb.InvalidInputException, duckdb.SerializationException))
    return (UnreadableFileError if reads_files else QueryError)(f"The query failed: {first}")
