"""Athena's API over `athena_statements`: query executions with their states, workgroups, result files.

moto keeps the workgroups and named queries; it runs no SQL, so the calls about executions are answered here.
"""

from __future__ import annotations

import base64
import threading
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import duckdb
from moto.athena.models import WorkGroup, athena_backends
from moto.core.models import DEFAULT_ACCOUNT_ID

from infra.emulation.athena_statements import Outcome, ScanLimitError, StatementRun, is_ddl
from infra.emulation.glue_tables import REGION, GlueCatalog, QueryFailedError
from infra.emulation.storage import Storage
from infra.emulation.traffic import AwsError, Faults, Handler

MAX_QUERY_BYTES = 262_144
_PAGE_ROWS = 1000
# Athena's numbers of an internal and of a user's error; the finer ones are not emulated.
_ERROR_TYPES = {1: 200, 2: 1000}


@dataclass
class Execution:
    """One query execution; `state` and what follows change while it runs."""

    id: str
    query: str
    database: str
    workgroup: str
    output_location: str
    submitted_at: float
    run: StatementRun
    state: str = "QUEUED"
    reason: str | None = None
    error_category: int | None = None
    completed_at: float | None = None
    outcome: Outcome | None = None
    stopped: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None


class Athena:
    """Every query runs in a thread of its own."""

    def __init__(self, storage: Storage, faults: Faults) -> None:
        self._storage = storage
        self._catalog = GlueCatalog(storage)
        self._faults = faults
        self._lock = threading.Lock()
        self._executions: dict[str, Execution] = {}
        self._tokens: dict[str, str] = {}

    def handlers(self) -> dict[tuple[str, str], Handler]:
        return {
            ("athena", "StartQueryExecution"): self._start,
            ("athena", "GetQueryExecution"): lambda p: {"QueryExecution": self._described(self._found(p))},
            ("athena", "BatchGetQueryExecution"): self._batch_get,
            ("athena", "ListQueryExecutions"): self._list,
            ("athena", "StopQueryExecution"): self._stop,
            ("athena", "GetQueryResults"): self._results,
            ("athena", "GetQueryRuntimeStatistics"): self._runtime_statistics,
        }

    def close(self) -> None:
        """Stop what runs and wait for it."""
        for execution in list(self._executions.values()):
            self._stop_execution(execution)
        for execution in list(self._executions.values()):
            if execution.thread is not None:
                execution.thread.join(timeout=30)

    # --- the API -----------------------------------------------------------------------------------------------------

    def _start(self, parameters: dict[str, Any]) -> Mapping[str, Any]:
        query = str(parameters["QueryString"])
        if len(query.encode()) > MAX_QUERY_BYTES:
            raise _invalid(f"Query string is longer than the maximum of {MAX_QUERY_BYTES} bytes")
        if parameters.get("ExecutionParameters"):
            raise _invalid("ExecutionParameters are not emulated")
        workgroup = self._workgroup(parameters.get("WorkGroup") or "primary")
        location = _output_location(workgroup, parameters)
        database = (parameters.get("QueryExecutionContext") or {}).get("Database", "default").lower()
        with self._lock:
            token = parameters.get("ClientRequestToken")
            if token in self._tokens:
                return {"QueryExecutionId": self._tokens[token]}
            limit = workgroup.configuration.get("BytesScannedCutoffPerQuery")
            identity = str(uuid.uuid4())
            execution = Execution(
                id=identity,
                query=query,
                database=database,
                workgroup=workgroup.name,
                output_location=f"{location}{identity}.{'txt' if is_ddl(query) else 'csv'}",
                submitted_at=time.time(),
                run=StatementRun(self._catalog, self._storage, database, int(limit) if limit else None),
            )
            self._executions[identity] = execution
            if token:
                self._tokens[token] = identity
        execution.thread = threading.Thread(
            target=self._execute, args=(execution, self._faults.of_query()), name=f"athena-{identity}", daemon=True
        )
        execution.thread.start()
        return {"QueryExecutionId": identity}

    def _batch_get(self, parameters: dict[str, Any]) -> Mapping[str, Any]:
        known = [i for i in parameters["QueryExecutionIds"] if i in self._executions]
        unknown = [i for i in parameters["QueryExecutionIds"] if i not in self._executions]
        return {
            "QueryExecutions": [self._described(self._executions[i]) for i in known],
            "UnprocessedQueryExecutionIds": [{"QueryExecutionId": i} for i in unknown],
        }

    def _list(self, parameters: dict[str, Any]) -> Mapping[str, Any]:
        workgroup = parameters.get("WorkGroup") or "primary"
        found = sorted(self._executions.values(), key=lambda execution: -execution.submitted_at)
        return {"QueryExecutionIds": [execution.id for execution in found if execution.workgroup == workgroup]}

    def _stop(self, parameters: dict[str, Any]) -> Mapping[str, Any]:
        self._stop_execution(self._found(parameters))
        return {}

    def _results(self, parameters: dict[str, Any]) -> Mapping[str, Any]:
        execution = self._found(parameters)
        if execution.state != "SUCCEEDED" or execution.outcome is None:
            raise _invalid(f"Query did not finish successfully. Final query state: {execution.state}")
        outcome = execution.outcome
        names = tuple(column.name for column in outcome.columns)
        rows = [names, *outcome.rows] if outcome.kind == "DML" and names else list(outcome.rows)
        start = int(base64.b64decode(parameters["NextToken"])) if parameters.get("NextToken") else 0
        end = start + min(int(parameters.get("MaxResults") or _PAGE_ROWS), _PAGE_ROWS)
        answer: dict[str, Any] = {
            "UpdateCount": outcome.output_rows if outcome.unloaded is not None else 0,
            "ResultSet": {
                "Rows": [
                    {"Data": [{} if value is None else {"VarCharValue": value} for value in row]}
                    for row in rows[start:end]
                ],
                "ResultSetMetadata": {
                    "ColumnInfo": [
                        {
                            "CatalogName": "hive",
                            "SchemaName": "",
                            "TableName": "",
                            "Name": column.name,
                            "Label": column.name,
                            "Type": column.type,
                            "Precision": column.precision,
                            "Scale": column.scale,
                            "Nullable": "UNKNOWN",
                            "CaseSensitive": column.type == "varchar",
                        }
                        for column in outcome.columns
                    ]
                },
            },
        }
        if end < len(rows):
            answer["NextToken"] = base64.b64encode(str(end).encode()).decode()
        return answer

    def _runtime_statistics(self, parameters: dict[str, Any]) -> Mapping[str, Any]:
        execution = self._found(parameters)
        outcome = execution.outcome or Outcome("DML")
        return {
            "QueryRuntimeStatistics": {
                "Timeline": {"TotalExecutionTimeInMillis": _milliseconds(execution)},
                "Rows": {"InputBytes": outcome.scanned_bytes, "OutputRows": outcome.output_rows},
            }
        }

    # --- executions --------------------------------------------------------------------------------------------------

    def _execute(self, execution: Execution, fault: tuple[str, float] | None) -> None:
        with self._lock:
            if execution.stopped.is_set():
                return
            execution.state = "RUNNING"
        kind, seconds = fault or ("", 0.0)
        if execution.stopped.wait(seconds):
            return
        try:
            outcome = execution.run.run(execution.query, fail_halfway=kind == "halfway")
            self._deliver(execution, outcome)
        except QueryFailedError as error:
            self._finish(execution, "FAILED", str(error), error.category)
        except ScanLimitError as error:
            self._finish(execution, "CANCELLED", str(error))
        except duckdb.InterruptException:
            self._finish(execution, "CANCELLED", "Query cancelled by user")
        except Exception as error:  # noqa: BLE001 - whatever went wrong, the client must see the query end
            self._finish(execution, "FAILED", f"GENERIC_INTERNAL_ERROR: {type(error).__name__}: {error}", 1)
        else:
            execution.outcome = outcome
            self._finish(execution, "SUCCEEDED")

    def _deliver(self, execution: Execution, outcome: Outcome) -> None:
        if outcome.unloaded is not None:
            manifest = execution.output_location.removesuffix(".csv") + "-manifest.csv"
            self._storage.write(manifest, "".join(f"{uri}\n" for uri in outcome.unloaded).encode())
            return
        if outcome.kind == "DML":
            header = tuple(column.name for column in outcome.columns)
            text = "".join(_csv_line(row) for row in (header, *outcome.rows))
        else:
            text = "".join(f"{row[0]}\n" for row in outcome.rows)
        self._storage.write(execution.output_location, text.encode())

    def _finish(self, execution: Execution, state: str, reason: str | None = None, category: int | None = None) -> None:
        with self._lock:
            if execution.completed_at is None:
                execution.reason, execution.error_category = reason, category
                execution.completed_at = time.time()
                execution.state = state

    def _stop_execution(self, execution: Execution) -> None:
        running = execution.completed_at is None
        execution.stopped.set()
        self._finish(execution, "CANCELLED", "Query cancelled by user")
        if running:
            execution.run.stop()

    def _found(self, parameters: Mapping[str, Any]) -> Execution:
        try:
            return self._executions[parameters["QueryExecutionId"]]
        except KeyError:
            raise _invalid(f"QueryExecution {parameters['QueryExecutionId']} was not found") from None

    def _workgroup(self, name: str) -> WorkGroup:
        workgroup = athena_backends[DEFAULT_ACCOUNT_ID][REGION].work_groups.get(name)
        if workgroup is None:
            raise _invalid("WorkGroup is not found.")
        if workgroup.state != "ENABLED":
            raise _invalid(f"WorkGroup {name} is disabled")
        return workgroup

    def _described(self, execution: Execution) -> dict[str, Any]:
        status: dict[str, Any] = {"State": execution.state, "SubmissionDateTime": execution.submitted_at}
        if execution.completed_at is not None:
            status["CompletionDateTime"] = execution.completed_at
        if execution.reason is not None:
            status["StateChangeReason"] = execution.reason
        if execution.error_category is not None:
            status["AthenaError"] = {
                "ErrorCategory": execution.error_category,
                "ErrorType": _ERROR_TYPES[execution.error_category],
                "Retryable": False,
                "ErrorMessage": execution.reason,
            }
        statistics: dict[str, Any] = {
            "EngineExecutionTimeInMillis": _milliseconds(execution),
            "TotalExecutionTimeInMillis": _milliseconds(execution),
            "DataScannedInBytes": execution.outcome.scanned_bytes if execution.outcome else 0,
            "ResultReuseInformation": {"ReusedPreviousResult": False},
        }
        if execution.outcome is not None and execution.outcome.unloaded is not None:
            statistics["DataManifestLocation"] = execution.output_location.removesuffix(".csv") + "-manifest.csv"
        return {
            "QueryExecutionId": execution.id,
            "Query": execution.query,
            "StatementType": "DDL" if is_ddl(execution.query) else "DML",
            "SubstatementType": "UNLOAD" if execution.query.lstrip().upper().startswith("UNLOAD") else "SELECT",
            "ResultConfiguration": {"OutputLocation": execution.output_location},
            "QueryExecutionContext": {"Database": execution.database},
            "Status": status,
            "Statistics": statistics,
            "WorkGroup": execution.workgroup,
            "EngineVersion": {
                "SelectedEngineVersion": "AUTO",
                "EffectiveEngineVersion": "Athena engine version 3",
            },
        }


def _output_location(workgroup: WorkGroup, parameters: Mapping[str, Any]) -> str:
    """Where the result goes: the workgroup's place where it enforces its own, else the client's."""
    of_workgroup = (workgroup.configuration.get("ResultConfiguration") or {}).get("OutputLocation")
    of_client = (parameters.get("ResultConfiguration") or {}).get("OutputLocation")
    enforced = bool(workgroup.configuration.get("EnforceWorkGroupConfiguration"))
    location = of_workgroup if enforced or not of_client else of_client
    if not location:
        raise _invalid(
            "No output location provided. An output location is required either through the Workgroup result"
        )
    return str(location).rstrip("/") + "/"


def _milliseconds(execution: Execution) -> int:
    return max(1, round(((execution.completed_at or time.time()) - execution.submitted_at) * 1000))


def _invalid(message: str) -> AwsError:
    return AwsError("InvalidRequestException", message)


def _csv_line(values: Iterable[str | None]) -> str:
    """Texts in quotes, NULL as nothing at all: csv.writer cannot, before Python 3.12."""
    quoted = ("" if value is None else '"' + value.replace('"', '""') + '"' for value in values)
    return ",".join(quoted) + "\n"
