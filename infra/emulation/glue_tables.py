"""Tables and views of the emulated Glue Data Catalog as DuckDB reads them: columns, files, partitions, bytes.

Which statement runs, and how its result is delivered, belongs to `athena_statements`.
"""

from __future__ import annotations

import base64
import json
import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Any

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.glue.exceptions import EntityNotFoundException
from moto.glue.models import glue_backends
from pyiceberg.catalog.noop import NoopCatalog
from pyiceberg.io.pyarrow import PyArrowFile, PyArrowFileIO
from pyiceberg.serializers import FromInputFile
from pyiceberg.table import StaticTable

from infra.emulation.storage import Storage
from stock_weather_pipeline.lake.iceberg import SnapshotRow, snapshot_rows

if TYPE_CHECKING:
    import duckdb
    from moto.glue.models import FakeTable, GlueBackend

REGION = "us-east-1"

_DUCKDB_TYPES = {
    "string": "VARCHAR",
    "varchar": "VARCHAR",
    "char": "VARCHAR",
    "tinyint": "TINYINT",
    "smallint": "SMALLINT",
    "int": "INTEGER",
    "integer": "INTEGER",
    "bigint": "BIGINT",
    "long": "BIGINT",
    "float": "FLOAT",
    "real": "FLOAT",
    "double": "DOUBLE",
    "boolean": "BOOLEAN",
    "date": "DATE",
    "timestamp": "TIMESTAMP",
}


class QueryFailedError(Exception):
    """A query failed as on Athena: `NAME: reason`. Category 1 is a fault of the system, 2 of the user."""

    def __init__(self, reason: str, category: int = 2) -> None:
        super().__init__(reason)
        self.category = category


@dataclass(frozen=True)
class Partition:
    """A part of a table: the values of its partition columns and where its files are."""

    values: tuple[str, ...]
    files: tuple[str, ...]


@dataclass(frozen=True)
class Column:
    name: str
    duckdb_type: str


class GlueTable:
    """A table over files."""

    def __init__(self, table: FakeTable, storage: Storage) -> None:
        self._storage = storage
        self._table = table
        self._definition: dict[str, Any] = table.as_dict()
        self._listed: dict[str, list[str]] = {}
        self.name = f"{table.database_name}.{table.name}"

    @property
    def _descriptor(self) -> dict[str, Any]:
        return dict(self._definition.get("StorageDescriptor") or {})

    @property
    def _parameters(self) -> dict[str, str]:
        return dict(self._definition.get("Parameters") or {})

    @property
    def is_iceberg(self) -> bool:
        return self._parameters.get("table_type", "").upper() == "ICEBERG"

    @property
    def is_csv(self) -> bool:
        library = str((self._descriptor.get("SerdeInfo") or {}).get("SerializationLibrary", ""))
        return library.endswith(("OpenCSVSerde", "LazySimpleSerDe"))

    @cached_property
    def columns(self) -> list[Column]:
        """The columns in the files, as the catalog declares them."""
        if self.is_iceberg:
            fields = self._iceberg.schema().fields
            return [Column(field.name, _iceberg_type(str(field.field_type))) for field in fields]
        return [_column(column) for column in self._descriptor.get("Columns", [])]

    @cached_property
    def partition_columns(self) -> list[Column]:
        """The columns that come from partitions; Iceberg's are in the files."""
        return [] if self.is_iceberg else [_column(c) for c in self._definition.get("PartitionKeys") or []]

    def partitions(self) -> list[Partition]:
        """Every partition, or the single part of a table without partition columns."""
        if self.is_iceberg:
            return [Partition((), tuple(self._iceberg_files()))]
        location = str(self._descriptor["Location"]).rstrip("/") + "/"
        if not self.partition_columns:
            return [Partition((), self._files(location))]
        if self._parameters.get("projection.enabled", "").lower() == "true":
            return self._projected(location)
        return [
            Partition(
                tuple(str(value) for value in partition.values),
                self._files(str(partition.partition_input["StorageDescriptor"]["Location"]).rstrip("/") + "/"),
            )
            for partition in self._table.partitions.values()
        ]

    def register(self, connection: duckdb.DuckDBPyConnection, name: str, partitions: Sequence[Partition]) -> None:
        """Make the DuckDB view `name` over these partitions."""
        files = {file: partition for partition in partitions for file in partition.files}
        paths = {str(self._storage.local_copy(file)): partition for file, partition in files.items()}
        every = [*self.columns, *self.partition_columns]
        if not paths:
            empty = ", ".join(f'CAST(NULL AS {c.duckdb_type}) AS "{c.name}"' for c in every)
            connection.execute(f"CREATE VIEW {name} AS SELECT {empty} WHERE false")
            return
        listed = "[" + ", ".join(f"'{path}'" for path in paths) + "]"
        source = self._csv_sql(listed) if self.is_csv else self._parquet_sql(connection, listed)
        selected = ", ".join(f'files."{c.name}"' for c in self.columns)
        if self.partition_columns:
            names = ", ".join(f'"{c.name}"' for c in self.partition_columns)
            rows = ", ".join(
                "(" + ", ".join(_quoted(value) for value in (path, *partition.values)) + ")"
                for path, partition in paths.items()
            )
            typed = ", ".join(
                f'CAST(parts."{c.name}" AS {c.duckdb_type}) AS "{c.name}"' for c in self.partition_columns
            )
            sql = (
                f"SELECT {selected}, {typed} FROM ({source}) AS files "
                f"JOIN (VALUES {rows}) AS parts (file_of_part, {names}) ON files.filename = parts.file_of_part"
            )
        else:
            sql = f"SELECT {selected} FROM ({source}) AS files"
        connection.execute(f"CREATE VIEW {name} AS {sql}")

    def _csv_sql(self, listed: str) -> str:
        for column in self.columns:
            if column.duckdb_type != "VARCHAR":
                raise QueryFailedError(
                    f"NOT_SUPPORTED: {self.name}.{column.name}: only text columns of CSV are emulated"
                )
        columns = ", ".join(f"'{c.name}': 'VARCHAR'" for c in self.columns)
        never_null = ", ".join(f"'{c.name}'" for c in self.columns)
        header = "true" if self._parameters.get("skip.header.line.count", "0") == "1" else "false"
        return (
            f"SELECT * FROM read_csv({listed}, columns = {{{columns}}}, auto_detect = false, header = {header}, "
            f"delim = ',', quote = '\"', escape = '\"', new_line = '\\n', hive_partitioning = false, "
            f"force_not_null = [{never_null}], filename = true)"
        )

    def _parquet_sql(self, connection: duckdb.DuckDBPyConnection, listed: str) -> str:
        source = f"read_parquet({listed}, hive_partitioning = false, union_by_name = true, filename = true)"
        found = {row[0]: row[1] for row in connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()}
        missing = [column for column in self.columns if column.name not in found]
        for column in self.columns:
            kind = found.get(column.name, column.duckdb_type)
            if kind.split("(")[0] != column.duckdb_type.split("(")[0]:
                raise QueryFailedError(
                    f"HIVE_BAD_DATA: Field {column.name}'s type {kind} in parquet file is incompatible with type "
                    f"{column.duckdb_type} defined in table schema of {self.name}"
                )
        added = "".join(f', CAST(NULL AS {column.duckdb_type}) AS "{column.name}"' for column in missing)
        return f"SELECT *{added} FROM {source}"

    def _files(self, location: str) -> tuple[str, ...]:
        uris = self._uris(location.split("/")[2])
        start = bisect_left(uris, location)
        below = takewhile(lambda uri: uri.startswith(location), islice(uris, start, None))
        names = ((uri, uri.rsplit("/", 1)[1]) for uri in below)
        # Athena skips what begins with _ or . and what is no file.
        return tuple(uri for uri, name in names if name and not name.startswith(("_", ".")))

    def _uris(self, bucket: str) -> list[str]:
        """Every object of a bucket, sorted; listed once, a table may have a thousand partitions."""
        if bucket not in self._listed:
            self._listed[bucket] = [file.uri for file in self._storage.list(f"s3://{bucket}/")]
        return self._listed[bucket]

    def _projected(self, location: str) -> list[Partition]:
        default = location + "/".join(f"{c.name}=${{{c.name}}}" for c in self.partition_columns) + "/"
        template = self._parameters.get("storage.location.template", default).rstrip("/") + "/"
        pattern = re.escape(template)
        for column in self.partition_columns:
            placeholder = re.escape(f"${{{column.name}}}")
            pattern = pattern.replace(placeholder, f"(?P<{column.name}>[^/]+)", 1)
            pattern = pattern.replace(placeholder, f"(?P={column.name})")
        found: dict[tuple[str, ...], list[str]] = {}
        for uri in self._files(location):
            match = re.match(pattern, uri)
            if match is not None:
                values = tuple(match[c.name] for c in self.partition_columns)
                if all(self._in_projection(c.name, v) for c, v in zip(self.partition_columns, values, strict=True)):
                    found.setdefault(values, []).append(uri)
        return [Partition(values, tuple(files)) for values, files in found.items()]

    def _in_projection(self, column: str, value: str) -> bool:
        kind = self._parameters.get(f"projection.{column}.type", "").lower()
        if kind == "enum":
            return value in self._parameters[f"projection.{column}.values"].split(",")
        if kind == "integer":
            first, last = (int(part) for part in self._parameters[f"projection.{column}.range"].split(","))
            digits = int(self._parameters.get(f"projection.{column}.digits", "1"))
            # Without `digits` a number is written as short as it is, so that `01` is no partition.
            return value.isdigit() and first <= int(value) <= last and value == str(int(value)).zfill(digits)
        raise QueryFailedError(
            f"NOT_SUPPORTED: projection.{column}.type = {kind or 'nothing'}: only enum and integer are emulated"
        )

    def snapshots(self) -> list[SnapshotRow]:
        """The rows of an Iceberg table's `"table$snapshots"`, oldest first."""
        if not self.is_iceberg:
            raise QueryFailedError(f"TABLE_NOT_FOUND: {self.name} is no Iceberg table and has no snapshots")
        return snapshot_rows(self._iceberg)

    @cached_property
    def _iceberg(self) -> StaticTable:
        location = self._parameters["metadata_location"]
        io = _StorageIO(self._storage)
        return StaticTable(
            identifier=tuple(self.name.split(".")),
            metadata=FromInputFile.table_metadata(io.new_input(location)),
            metadata_location=location,
            io=io,
            catalog=NoopCatalog("emulated"),
        )

    def _iceberg_files(self) -> list[str]:
        tasks = list(self._iceberg.scan().plan_files())
        if any(task.delete_files for task in tasks):
            raise QueryFailedError(f"NOT_SUPPORTED: {self.name} has delete files, which are not emulated")
        return [task.file.file_path for task in tasks]


class _StorageIO(PyArrowFileIO):
    """PyIceberg's files from the emulated S3, without HTTP."""

    def __init__(self, storage: Storage) -> None:
        super().__init__()
        self._storage = storage

    def new_input(self, location: str) -> PyArrowFile:
        return super().new_input(str(self._storage.local_copy(location)))


class GlueCatalog:
    """The emulated Glue Data Catalog, in process."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    @property
    def _backend(self) -> GlueBackend:
        return glue_backends[DEFAULT_ACCOUNT_ID][REGION]

    def table(self, database: str, name: str) -> GlueTable:
        """Raises QueryFailedError where there is no such table."""
        return GlueTable(self._found(database, name), self._storage)

    def view_sql(self, database: str, name: str) -> tuple[str, str, list[tuple[str, str]]] | None:
        """The SQL of a view, its default database and its columns with their types; None for a table."""
        definition = self._found(database, name).as_dict()
        if definition.get("TableType") != "VIRTUAL_VIEW":
            return None
        return decoded_view(str(definition["ViewOriginalText"]))

    def names(self, database: str) -> list[str]:
        if database not in self._backend.databases:
            raise QueryFailedError(f"SCHEMA_NOT_FOUND: line 1:1: Schema '{database}' does not exist")
        return sorted(self._backend.databases[database].tables)

    def put_view(self, database: str, name: str, sql: str, columns: Mapping[str, str], *, replace: bool) -> None:
        """Create a view over columns with Athena's types. Raises QueryFailedError where it exists, unless `replace`."""
        existing = name in self.names(database)
        if existing and self._found(database, name).as_dict().get("TableType") != "VIRTUAL_VIEW":
            raise QueryFailedError(f"INVALID_VIEW: {database}.{name} is a table")
        if existing and not replace:
            raise QueryFailedError(f"ALREADY_EXISTS: View already exists: awsdatacatalog.{database}.{name}")
        table_input = {
            "Name": name,
            "TableType": "VIRTUAL_VIEW",
            "Parameters": {"presto_view": "true", "comment": "Presto View"},
            "ViewOriginalText": encoded_view(sql, database, columns),
            "ViewExpandedText": "/* Presto View */",
            "PartitionKeys": [],
            "StorageDescriptor": {
                "Location": "",
                "Columns": [{"Name": c, "Type": _hive_type(kind)} for c, kind in columns.items()],
                "SerdeInfo": {},
            },
        }
        if existing:
            self._backend.update_table(database, name, table_input)
        else:
            self._backend.create_table(database, name, table_input)

    def drop_view(self, database: str, name: str) -> None:
        if self.view_sql(database, name) is None:
            raise QueryFailedError(f"INVALID_VIEW: {database}.{name} is a table")
        self._backend.delete_table(database, name)

    def _found(self, database: str, name: str) -> FakeTable:
        try:
            return self._backend.get_table(database, name)
        except EntityNotFoundException:
            what = f"Table 'awsdatacatalog.{database}.{name}'"
            raise QueryFailedError(f"TABLE_NOT_FOUND: line 1:1: {what} does not exist") from None


def encoded_view(sql: str, database: str, columns: Mapping[str, str]) -> str:
    """Athena's text of a view in the Glue catalog."""
    view = {
        "originalSql": sql,
        "catalog": "awsdatacatalog",
        "schema": database,
        "columns": [{"name": name, "type": kind} for name, kind in columns.items()],
    }
    return f"/* Presto View: {base64.b64encode(json.dumps(view).encode()).decode()} */"


def decoded_view(text: str) -> tuple[str, str, list[tuple[str, str]]]:
    match = re.fullmatch(r"/\* Presto View: (\S+) \*/", text.strip())
    if match is None:
        raise QueryFailedError("INVALID_VIEW: The text of the view is not /* Presto View: base64 */")
    view = json.loads(base64.b64decode(match[1]))
    return view["originalSql"], view["schema"], [(column["name"], column["type"]) for column in view["columns"]]


def _column(column: Mapping[str, Any]) -> Column:
    return Column(str(column["Name"]), _duckdb_type(str(column["Type"])))


def _duckdb_type(glue_type: str) -> str:
    kind = glue_type.strip().lower()
    if kind.startswith("decimal"):
        return kind.upper()
    try:
        return _DUCKDB_TYPES[kind.split("(")[0]]
    except KeyError:
        raise QueryFailedError(f"NOT_SUPPORTED: The type {glue_type} is not emulated") from None


def _iceberg_type(kind: str) -> str:
    return "TIMESTAMP WITH TIME ZONE" if kind == "timestamptz" else _duckdb_type(kind)


def _hive_type(athena_type: str) -> str:
    kind = athena_type.lower().split("(")[0]
    return {"varchar": "string", "integer": "int"}.get(kind, "timestamp" if kind == "timestamp" else athena_type)


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
