"""One statement of Athena's, run on DuckDB: SELECT, UNLOAD, CREATE VIEW, DROP VIEW, SHOW TABLES.

The SQL itself is translated by the package's own `lake.dialect`, so a form outside its allow-list fails here although
Athena may take it. When a statement runs, its state and its result's delivery belong to `athena`.
"""

from __future__ import annotations

import io
import json
import math
import re
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from sqlglot import exp
from sqlglot.dialects.trino import Trino
from sqlglot.errors import SqlglotError

from infra.emulation.glue_tables import GlueCatalog, GlueTable, Partition, QueryFailedError
from infra.emulation.storage import Storage
from stock_weather_pipeline.errors import QueryError, SqlNotAllowedError
from stock_weather_pipeline.lake import dialect
from stock_weather_pipeline.lake.duckdb_engine import SNAPSHOTS, snapshots_sql

MAX_PARTITIONS_WRITTEN = 100
_COMPRESSIONS = {"zstd": "zstd", "snappy": "snappy", "gzip": "gzip", "none": "none"}
_ATHENA_TYPES = {
    "VARCHAR": "varchar",
    "TINYINT": "tinyint",
    "SMALLINT": "smallint",
    "INTEGER": "integer",
    "BIGINT": "bigint",
    "FLOAT": "float",
    "DOUBLE": "double",
    "BOOLEAN": "boolean",
    "DATE": "date",
    "TIMESTAMP": "timestamp",
    "TIMESTAMP_NS": "timestamp",
    "TIMESTAMP WITH TIME ZONE": "timestamp with time zone",
}
_WIDER = {("integer", "bigint"), ("integer", "double"), ("bigint", "double")}


class ScanLimitError(Exception):
    """The query would read more bytes than its workgroup allows."""


@dataclass(frozen=True)
class ResultColumn:
    name: str
    type: str
    precision: int = 0
    scale: int = 0


@dataclass(frozen=True)
class Outcome:
    """What a statement gave. `unloaded` are the files an UNLOAD wrote; None for another statement."""

    kind: str
    columns: tuple[ResultColumn, ...] = ()
    rows: tuple[tuple[str | None, ...], ...] = ()
    scanned_bytes: int = 0
    output_rows: int = 0
    unloaded: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Unload:
    """`UNLOAD (select) TO location WITH (...)`."""

    select: str
    location: str
    compression: str
    partitioned_by: tuple[str, ...]


@cache
def _duckdb() -> duckdb.DuckDBPyConnection:
    """One for all statements: making one takes longer than most of them."""
    connection = duckdb.connect(
        ":memory:", config={"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}
    )
    # A table that a statement names twice is read twice by Athena.
    connection.execute(
        "SET GLOBAL TimeZone = 'UTC'; SET GLOBAL disabled_optimizers = 'common_subplan'; "
        "SET GLOBAL enable_external_file_cache = false"
    )
    return connection


@contextmanager
def _own_database() -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to an empty database, which is gone afterwards."""
    name = f"statement_{uuid.uuid4().hex}"
    with _duckdb().cursor() as connection:
        connection.execute(f"ATTACH ':memory:' AS {name}; USE {name}")
        try:
            yield connection
        finally:
            connection.execute(f"USE memory; DETACH {name}")


def is_ddl(sql: str) -> bool:
    return sql.lstrip().upper().startswith(("CREATE", "DROP", "SHOW", "ALTER", "DESCRIBE"))


class StatementRun:
    """The run of one statement, which `stop` ends."""

    def __init__(self, catalog: GlueCatalog, storage: Storage, database: str, scan_limit: int | None) -> None:
        self._catalog = catalog
        self._storage = storage
        self._database = database
        self._scan_limit = scan_limit
        self._until_ended = ExitStack()
        self._connection = self._until_ended.enter_context(_own_database())
        self._schema: dict[tuple[str, str], dict[str, str]] = {}
        self._scanned_bytes = 0

    def stop(self) -> None:
        with suppress(duckdb.ConnectionException):  # it ended at this moment
            self._connection.interrupt()

    def run(self, sql: str, *, fail_halfway: bool = False) -> Outcome:
        """Raises QueryFailedError, ScanLimitError, or duckdb.InterruptException once stopped."""
        try:
            outcome = self._dispatched(sql, fail_halfway)
        except SqlNotAllowedError as error:
            name = "SYNTAX_ERROR" if isinstance(error.__cause__, SqlglotError) else "NOT_SUPPORTED"
            raise QueryFailedError(f"{name}: line 1:1: {error}") from error
        except QueryError as error:
            raise QueryFailedError(f"COLUMN_NOT_FOUND: line 1:1: {error}") from error
        except FileNotFoundError as error:
            raise QueryFailedError(
                f"HIVE_CANNOT_OPEN_SPLIT: Error opening {error} (NoSuchKey or NoSuchBucket)"
            ) from error
        except duckdb.InterruptException:
            raise
        except duckdb.Error as error:
            raise QueryFailedError(f"{_error_name(error)}: {str(error).splitlines()[0]}") from error
        finally:
            self._until_ended.close()
        if fail_halfway:
            raise _halfway()
        return outcome

    def _dispatched(self, sql: str, fail_halfway: bool) -> Outcome:
        unload = parsed_unload(sql)
        if unload is not None:
            return self._unload(unload, fail_halfway)
        view = re.match(r"\s*CREATE\s+(OR\s+REPLACE\s+)?VIEW\s+(\S+)\s+AS\b(.*)", sql, re.IGNORECASE | re.DOTALL)
        if view is not None:
            return self._create_view(view[2], view[3].strip().rstrip(";"), replace=view[1] is not None)
        dropped = re.fullmatch(r"\s*DROP\s+VIEW\s+(IF\s+EXISTS\s+)?(\S+?)\s*;?\s*", sql, re.IGNORECASE)
        if dropped is not None:
            return self._drop_view(dropped[2], missing_is_fine=dropped[1] is not None)
        shown = re.fullmatch(r"\s*SHOW\s+TABLES(?:\s+(?:IN|FROM)\s+(\S+?))?\s*;?\s*", sql, re.IGNORECASE)
        if shown is not None:
            names = self._catalog.names(_unquoted(shown[1] or self._database))
            return Outcome("DDL", (ResultColumn("tab_name", "string"),), tuple((name,) for name in names))
        if is_ddl(sql):
            raise QueryFailedError(f"NOT_SUPPORTED: line 1:1: {sql.split()[0].upper()} of this form is not emulated")
        return self._select(sql)

    def _select(self, sql: str) -> Outcome:
        result, columns = self._result(sql)
        rows = tuple(_texts(result))
        return Outcome("DML", columns, rows, self._scanned_bytes, len(rows))

    def _result(self, sql: str) -> tuple[pa.Table, tuple[ResultColumn, ...]]:
        relation = self._connection.sql(self._translated(sql, self._database))
        columns = tuple(
            _result_column(name, str(kind)) for name, kind in zip(relation.columns, relation.types, strict=True)
        )
        self._connection.execute("SET enable_profiling = 'no_output'")
        result = relation.to_arrow_table()
        self._scanned_bytes = _bytes_read(self._connection)
        if self._scan_limit is not None and self._scanned_bytes > self._scan_limit:
            raise ScanLimitError(f"Bytes scanned limit was exceeded ({self._scan_limit} bytes)")
        return result, columns

    def _unload(self, unload: Unload, fail_halfway: bool) -> Outcome:
        location = unload.location.rstrip("/") + "/"
        if self._storage.list(location):
            raise QueryFailedError(f"HIVE_PATH_ALREADY_EXISTS: Target directory for table already exists: {location}")
        result, _ = self._result(unload.select)
        parts = list(_parts(result, unload.partitioned_by))
        if len(parts) > MAX_PARTITIONS_WRITTEN:
            raise QueryFailedError(
                f"HIVE_TOO_MANY_OPEN_PARTITIONS: Exceeded limit of {MAX_PARTITIONS_WRITTEN} open writers for partitions"
            )
        if fail_halfway:
            parts = parts[: len(parts) // 2] or [(folder, rows.slice(0, len(rows) // 2)) for folder, rows in parts]
        written = []
        for folder, rows in parts:
            buffer = io.BytesIO()
            pq.write_table(rows, buffer, compression=unload.compression, use_deprecated_int96_timestamps=True)
            uri = f"{location}{folder}{uuid.uuid4()}"
            self._storage.write(uri, buffer.getvalue())
            written.append(uri)
        return Outcome("DML", (), (), self._scanned_bytes, len(result), tuple(written))

    def _create_view(self, written_name: str, select: str, *, replace: bool) -> Outcome:
        database, name = self._named(written_name)
        relation = self._connection.sql(self._translated(select, self._database))
        columns = dict(zip(relation.columns, (athena_type(str(kind)) for kind in relation.types), strict=True))
        self._catalog.put_view(database, name, select, columns, replace=replace)
        return Outcome("DDL")

    def _drop_view(self, written_name: str, *, missing_is_fine: bool) -> Outcome:
        database, name = self._named(written_name)
        if name not in self._catalog.names(database) and missing_is_fine:
            return Outcome("DDL")
        self._catalog.drop_view(database, name)
        return Outcome("DDL")

    def _named(self, written: str) -> tuple[str, str]:
        parts = [_unquoted(part) for part in written.split(".")]
        return (self._database, parts[0]) if len(parts) == 1 else (parts[-2], parts[-1])

    # --- tables ------------------------------------------------------------------------------------------------------

    def _translated(self, sql: str, database: str) -> str:
        """DuckDB's SQL, once every table it reads is there as a view of the connection."""
        expression = dialect.parse(sql).copy()
        for shared in expression.find_all(exp.CTE):
            shared.set("materialized", False)  # Athena reads for each use
        references = dialect.table_references(expression)
        unqualified = {name for table_database, name in references if table_database is None}
        for table in expression.find_all(exp.Table):
            if not table.db and table.name.lower() in unqualified:
                table.set("db", exp.to_identifier(database))
        for table_database, name in references:
            self._register(table_database or database, name, expression)
        return dialect.to_duckdb(expression, schema=self._schema, default_database=database)

    def _register(self, database: str, name: str, expression: exp.Expr) -> None:
        if (database, name) in self._schema:
            return
        self._connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{database}"')
        qualified = f'"{database}"."{name}"'
        if name.endswith(SNAPSHOTS):
            snapshots = self._catalog.table(database, name.removesuffix(SNAPSHOTS)).snapshots()
            self._connection.execute(f"CREATE VIEW {qualified} AS {snapshots_sql(snapshots)}")
            self._schema[database, name] = self._described(qualified)
            return
        view = self._catalog.view_sql(database, name)
        if view is not None:
            sql, view_database, declared = view
            self._connection.execute(f"CREATE VIEW {qualified} AS {self._translated(sql, view_database)}")
            self._check_view(f"{database}.{name}", qualified, declared)
        else:
            table = self._catalog.table(database, name)
            partitions = _pruned(expression, database, name, table)
            table.register(self._connection, qualified, partitions)
        self._schema[database, name] = self._described(qualified)

    def _described(self, qualified: str) -> dict[str, str]:
        return {row[0]: row[1] for row in self._connection.execute(f"DESCRIBE {qualified}").fetchall()}

    def _check_view(self, name: str, qualified: str, declared: Sequence[tuple[str, str]]) -> None:
        found = [(column, athena_type(kind)) for column, kind in self._described(qualified).items()]
        fits = len(found) == len(declared) and all(
            found_name == declared_name and (found_type == base or (found_type, base) in _WIDER)
            for (found_name, found_type), (declared_name, base) in zip(
                found, ((column, _base_type(kind)) for column, kind in declared), strict=True
            )
        )
        if not fits:
            raise QueryFailedError(
                f"VIEW_IS_STALE: View 'awsdatacatalog.{name}' is stale or in invalid state: created with "
                f"{list(declared)}, it now gives {found}"
            )


def _bytes_read(connection: duckdb.DuckDBPyConnection) -> int:
    """Bytes that the last query has read of files: like Athena, of the columns and row groups it needs."""
    told = json.loads(connection.get_profiling_information())
    # There is nothing to tell when no file was read but for its number of rows.
    return int(told.get("io", {}).get("total_bytes_read", 0))


def parsed_unload(sql: str) -> Unload | None:
    """The parts of an UNLOAD, or None for another statement. Raises QueryFailedError for one that is not emulated."""
    if not sql.lstrip().upper().startswith("UNLOAD"):
        return None
    tokens = Trino().tokenize(sql)
    depth, closing = 0, None
    for token in tokens:
        depth += {"(": 1, ")": -1}.get(token.text, 0) if token.token_type.name in ("L_PAREN", "R_PAREN") else 0
        if depth == 0 and token.text == ")":
            closing = token
            break
    opening = next((token for token in tokens if token.text == "("), None)
    if opening is None or closing is None:
        raise QueryFailedError("SYNTAX_ERROR: line 1:7: UNLOAD takes a SELECT in parentheses")
    rest = re.fullmatch(
        r"\s*TO\s+'([^']+)'\s+WITH\s*\((.*)\)\s*;?\s*", sql[closing.end + 1 :], re.IGNORECASE | re.DOTALL
    )
    if rest is None:
        raise QueryFailedError("SYNTAX_ERROR: line 1:1: UNLOAD (...) is followed by TO 's3://...' WITH (...)")
    options = {
        match[1].lower(): match[2]
        for match in re.finditer(r"(\w+)\s*=\s*('[^']*'|ARRAY\s*\[[^\]]*\])", rest[2], re.IGNORECASE)
    }
    unknown = set(options) - {"format", "compression", "partitioned_by"}
    file_format = options.get("format", "''").strip("'").upper()
    compression = options.get("compression", "'GZIP'").strip("'").lower()
    if unknown or file_format != "PARQUET" or compression not in _COMPRESSIONS:
        raise QueryFailedError(f"NOT_SUPPORTED: line 1:1: UNLOAD WITH ({rest[2].strip()}) is not emulated")
    columns = tuple(re.findall(r"'([^']*)'", options.get("partitioned_by", "")))
    return Unload(sql[opening.end + 1 : closing.start], rest[1], _COMPRESSIONS[compression], columns)


def athena_type(duckdb_type: str) -> str:
    """The type as the Athena API names it."""
    if duckdb_type.startswith("DECIMAL"):
        return duckdb_type.lower()
    if duckdb_type.endswith("[]"):
        return "array"
    return _ATHENA_TYPES.get(duckdb_type, "unknown")


def _base_type(declared: str) -> str:
    kind = declared.lower()
    return kind if kind.startswith("decimal") else re.sub(r"\(\d+\)", "", kind)


def _result_column(name: str, duckdb_type: str) -> ResultColumn:
    numbers = re.fullmatch(r"DECIMAL\((\d+),\s*(\d+)\)", duckdb_type)
    if numbers is not None:
        return ResultColumn(name, "decimal", int(numbers[1]), int(numbers[2]))
    kind = athena_type(duckdb_type)
    precision = {"integer": 10, "bigint": 19, "double": 17, "varchar": 2147483647, "timestamp": 3}.get(kind, 0)
    return ResultColumn(name, kind, precision)


def _unquoted(name: str) -> str:
    return name.strip('"`').lower()


def _pruned(expression: exp.Expr, database: str, name: str, table: GlueTable) -> list[Partition]:
    """The partitions that the statement's conditions on partition columns leave, for all its uses of the table."""
    partitions = table.partitions()
    columns = [column.name.lower() for column in table.partition_columns]
    if not columns:
        return partitions
    conditions = []
    for node in expression.find_all(exp.Table):
        if (node.db.lower(), node.name.lower()) == (database, name):
            found = _partition_conditions(node, set(columns))
            if not found:
                return partitions
            conditions.append((node, found))
    kept: set[tuple[str, ...]] = set()
    with _own_database() as connection:
        connection.execute(f'CREATE SCHEMA "{database}"')
        declared = ", ".join(f'"{column}" VARCHAR' for column in columns)
        connection.execute(f'CREATE TABLE "{database}".values_of ({declared})')
        values = pa.table({c: [p.values[n] for p in partitions] for n, c in enumerate(columns)}) if partitions else None
        if values is None:
            return []
        connection.register("listed", values)
        connection.execute(f'INSERT INTO "{database}".values_of SELECT * FROM listed')
        typed = ", ".join(f'CAST("{c.name}" AS {c.duckdb_type}) AS "{c.name}"' for c in table.partition_columns)
        connection.execute(f'CREATE VIEW "{database}"."{name}" AS SELECT {typed} FROM "{database}".values_of')
        schema = {(database, name): {c.name: c.duckdb_type for c in table.partition_columns}}
        for node, found in conditions:
            source = exp.Table(this=node.this.copy(), db=node.args["db"].copy(), alias=node.args.get("alias"))
            select = exp.select(*columns).from_(source).where(*found)
            for row in connection.sql(dialect.to_duckdb(select, schema=schema, default_database=database)).fetchall():
                kept.add(tuple(str(value) for value in row))
    typed_values = {partition.values: partition for partition in partitions}
    return [partition for values, partition in typed_values.items() if _as_shown(values, table) in kept]


def _as_shown(values: Sequence[str], table: GlueTable) -> tuple[str, ...]:
    """The values as DuckDB gives them back: a number without its leading zeros."""
    return tuple(
        value if column.duckdb_type in ("VARCHAR", "DATE") else str(int(value))
        for value, column in zip(values, table.partition_columns, strict=True)
    )


def _partition_conditions(node: exp.Table, columns: set[str]) -> list[exp.Expr]:
    """Copies of the conditions ANDed in the WHERE of the SELECT around a table that read only its partition columns."""
    select = node.find_ancestor(exp.Select)
    where = select.args.get("where") if select is not None else None
    if where is None:
        return []
    alias = node.alias_or_name.lower()
    conjuncts = where.this.flatten() if isinstance(where.this, exp.And) else [where.this]
    return [
        conjunct.copy()
        for conjunct in conjuncts
        if not conjunct.find(exp.Select)
        and all(c.name.lower() in columns and c.table.lower() in ("", alias) for c in conjunct.find_all(exp.Column))
    ]


def _parts(rows: pa.Table, partitioned_by: Sequence[str]) -> Iterator[tuple[str, pa.Table]]:
    """(folder, rows) of each partition."""
    if not partitioned_by:
        if rows.num_rows:
            yield "", rows
        return
    last = tuple(rows.column_names[-len(partitioned_by) :])
    if last != tuple(partitioned_by):
        raise QueryFailedError(
            f"HIVE_COLUMN_ORDER_MISMATCH: Partition keys must be the last columns in the table and in the same order "
            f"as the table properties: {list(partitioned_by)}"
        )
    kept = rows.drop_columns(list(partitioned_by))
    for values in rows.select(list(partitioned_by)).group_by(list(partitioned_by)).aggregate([]).to_pylist():
        mask = None
        for column, value in values.items():
            same = pc.is_null(rows[column]) if value is None else pc.equal(rows[column], value)
            mask = same if mask is None else pc.and_(mask, pc.fill_null(same, False))
        folder = "".join(f"{c}={'__HIVE_DEFAULT_PARTITION__' if v is None else v}/" for c, v in values.items())
        yield folder, kept.filter(mask)


def _texts(table: pa.Table) -> Iterator[tuple[str | None, ...]]:
    columns = [[_text(value) for value in column.to_pylist()] for column in table.columns]
    return zip(*columns, strict=True) if columns else iter(())


def _text(value: Any) -> str | None:
    """A value as Athena writes it into a result file."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _double(value)
    if isinstance(value, list):
        return "[" + ", ".join(_text(item) or "null" for item in value) + "]"
    if hasattr(value, "tzinfo"):
        text = value.strftime("%Y-%m-%d %H:%M:%S.%f")
        shown = text if value.microsecond % 1000 else text[:-3]
        return f"{shown} UTC" if value.tzinfo is not None else shown
    return str(value)


def _double(value: float) -> str:
    """As Java prints a double, which is what Athena does."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if value == 0 or 1e-3 <= abs(value) < 1e7:
        text = repr(value)
        return f"{value:.20f}".rstrip("0") if "e" in text else text
    mantissa, _, exponent = f"{value!r}".partition("e")
    if not exponent:
        sign = "-" if value < 0 else ""
        digits = mantissa.lstrip("-").replace(".", "").lstrip("0").rstrip("0") or "0"
        power = math.floor(math.log10(abs(value)))
        power += (10.0 ** (power + 1) <= abs(value)) - (10.0**power > abs(value))
        return f"{sign}{digits[0]}.{digits[1:] or '0'}E{power}"
    return f"{mantissa if '.' in mantissa else mantissa + '.0'}E{int(exponent)}"


def _error_name(error: duckdb.Error) -> str:
    text = str(error)
    if "Division by zero" in text:
        return "DIVISION_BY_ZERO"
    if isinstance(error, duckdb.ConversionException) or "Cannot cast" in text:
        return "INVALID_CAST_ARGUMENT"
    if "CSV" in text or "Parquet" in text or "parquet" in text:
        return "HIVE_BAD_DATA"
    return "GENERIC_USER_ERROR"


def _halfway() -> QueryFailedError:
    return QueryFailedError("GENERIC_INTERNAL_ERROR: A worker was lost while the query ran", category=1)
