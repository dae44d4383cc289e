"""Runs one statement on Athena: starts it, waits no longer than the deadline, stops it when nobody waits any more.

PyAthena starts, follows and stops queries. Results are read here, from the one file that Athena writes: PyAthena's own
Arrow reader turns a NULL text into ''. What a statement means belongs to the engine and the catalog.
"""

from __future__ import annotations

import io
from concurrent.futures import Future
from concurrent.futures import TimeoutError as WaitedTooLong
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from time import monotonic
from typing import TYPE_CHECKING, Any

from stock_weather_pipeline.errors import QueryDeadlineError, QueryError, TransientQueryError, UnreadableFileError
from stock_weather_pipeline.lake.aws.cost import Ledger, QueryCost
from stock_weather_pipeline.lake.aws.errors import aws_errors, is_transient
from stock_weather_pipeline.lake.aws.session import AwsSession
from stock_weather_pipeline.lake.layout import PROD_DATABASE

if TYPE_CHECKING:
    import pyarrow as pa
    from pyathena.async_cursor import AsyncCursor

# What Athena names errors of files and of values in them; everything else is wrong for any choice of days.
_UNREADABLE = (
    "HIVE_BAD_DATA",
    "HIVE_CANNOT_OPEN_SPLIT",
    "HIVE_CURSOR_ERROR",
    "HIVE_FILESYSTEM_ERROR",
    "HIVE_INVALID_METADATA",
    "ICEBERG_BAD_DATA",
    "ICEBERG_CANNOT_OPEN_SPLIT",
)
_OVERLOADED = (
    "EXCEEDED_TIME_LIMIT",
    "GENERIC_INTERNAL_ERROR",
    "INTERNAL_ERROR",
    "NO_NODES_AVAILABLE",
    "PAGE_TRANSPORT",
    "Query exhausted resources",
    "SERVER_",
    "SlowDown",
    "THROTTLING",
)
_SYSTEM = 1  # ErrorCategory of Athena's own faults
_AFTER_STOP_S = 10.0


@dataclass(frozen=True)
class Running:
    """A started query."""

    query_id: str
    result: Future[Any]
    started: float


class Athena:
    """Statements in one workgroup; `stock_weather` is the database of names without one."""

    def __init__(
        self,
        session: AwsSession,
        workgroup: str,
        results_bucket: str,
        deadline_s: float,
        ledger: Ledger,
        poll_s: float = 0.5,
    ) -> None:
        self._session = session
        self._workgroup = workgroup
        self._results_bucket = results_bucket
        self._deadline_s = deadline_s
        self._ledger = ledger
        self._poll_s = poll_s

    def table(self, sql: str) -> pa.Table:
        """The result of a query. Raises QueryError, of the kind that says whether and how to go on."""
        finished = self.wait(self.start(sql))
        return self._read(finished)

    def start(self, sql: str) -> Running:
        """Start a statement; throttling is waited for."""
        from pyathena.error import Error

        try:
            query_id, result = self._cursor.execute(sql)
        except Error as error:
            raise _refused(error) from error
        return Running(query_id, result, monotonic())

    def wait(self, running: Running) -> Any:
        """PyAthena's result set of a query that has succeeded. However waiting ends otherwise, the query is stopped."""
        from pyathena.error import Error

        remaining = self._deadline_s - (monotonic() - running.started)
        try:
            finished = running.result.result(max(0.0, remaining))
        except WaitedTooLong:
            self.stop(running)
            raise QueryDeadlineError(
                f"The query {running.query_id} ran longer than {self._deadline_s:g} s and was stopped: narrow it to "
                "fewer days, or raise STOCK_WEATHER_QUERY_DEADLINE_S."
            ) from None
        except Error as error:
            self.stop(running)
            raise _refused(error) from error
        except BaseException:
            # The run was cancelled: nobody will read the result, and every scanned byte is paid for.
            self.stop(running)
            raise
        self._account(finished)
        if finished.state != "SUCCEEDED":
            raise _failed(finished)
        return finished

    def stop(self, running: Running) -> None:
        """Stop a query and account for what it scanned."""
        with suppress(Exception):  # it may be over already, and the reason to stop it is the one to be told
            self._session.athena.stop_query_execution(QueryExecutionId=running.query_id)
            self._account(running.result.result(_AFTER_STOP_S))

    @cached_property
    def _cursor(self) -> AsyncCursor:
        from pyathena import connect
        from pyathena.async_cursor import AsyncCursor
        from pyathena.util import RetryConfig

        with aws_errors("open a connection to Athena"):
            connection = connect(
                session=self._session.boto,
                region_name=self._session.region,
                config=self._session.config,
                work_group=self._workgroup,
                s3_staging_dir=f"s3://{self._results_bucket}/athena/",
                schema_name=PROD_DATABASE,
                catalog_name="awsdatacatalog",
                poll_interval=self._poll_s,
                # The clients repeat by themselves; two layers of retries would multiply.
                retry_config=RetryConfig(attempt=1),
                kill_on_interrupt=False,
            )
            cursor: AsyncCursor = connection.cursor(AsyncCursor, arraysize=1)
        return cursor

    def _account(self, finished: Any) -> None:
        self._ledger.add(
            QueryCost.of(
                finished.query_id,
                finished.state,
                finished.statement_type or "",
                finished.submission_date_time,
                finished.data_scanned_in_bytes or 0,
                finished.total_execution_time_in_millis or 0,
            )
        )

    def _read(self, finished: Any) -> pa.Table:
        import pyarrow as pa
        from pyarrow import csv

        described = finished.description or []
        bucket, key = finished.output_location.removeprefix("s3://").split("/", 1)
        with aws_errors(f"read s3://{bucket}/{key}"):
            content = self._session.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        # Columns may share a name; they are read under their positions.
        positions = [str(n) for n in range(len(described))]
        types = [_arrow_type(column) for column in described]
        rows = csv.read_csv(
            io.BytesIO(content),
            csv.ReadOptions(column_names=positions, skip_rows_after_names=1),
            csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
            csv.ConvertOptions(
                column_types=dict(zip(positions, types, strict=True)),
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
                true_values=["true"],
                false_values=["false"],
                timestamp_parsers=[csv.ISO8601],
            ),
        )
        return pa.table(rows.columns, names=[column[0] for column in described])


def _arrow_type(column: Any) -> pa.DataType:
    """The Arrow type of a column of PyAthena's description: name, type, ..., precision, scale."""
    import pyarrow as pa

    _, kind, _, _, precision, scale, *_ = column
    if kind == "decimal":
        return pa.decimal128(precision, scale)
    simple = {
        "boolean": pa.bool_(),
        "tinyint": pa.int8(),
        "smallint": pa.int16(),
        "integer": pa.int32(),
        "bigint": pa.int64(),
        "float": pa.float32(),
        "real": pa.float32(),
        "double": pa.float64(),
        "date": pa.date32(),
        "timestamp": pa.timestamp("us"),
    }
    # What has no simple type (times with zones, arrays, rows) stays as Athena writes it.
    return simple.get(kind, pa.string())


def _failed(finished: Any) -> QueryError:
    reason = " ".join((finished.state_change_reason or "no reason was given").split())
    if finished.state == "CANCELLED":
        return QueryError(f"The query {finished.query_id} was stopped: {reason.rstrip('.')}.")
    sentence = f"The query failed: {reason} (query {finished.query_id})"
    if reason.startswith(_UNREADABLE):
        return UnreadableFileError(sentence)
    if finished.error_category == _SYSTEM or any(sign in reason for sign in _OVERLOADED):
        return TransientQueryError(sentence)
    return QueryError(sentence)


def _refused(error: Exception) -> QueryError:
    """PyAthena's error for a call that failed, whose cause is botocore's."""
    cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
    try:
        with aws_errors("query Athena"):
            raise cause
    except Exception as translated:  # noqa: BLE001 - whatever it is, it is told as a QueryError
        kind = TransientQueryError if is_transient(cause) else QueryError
        return kind(str(translated))
