"""Queries on Athena end: with a typed result, a sentence of the right kind, or stopped; and each is paid for once."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import date, datetime, timezone
from types import SimpleNamespace
from typing import Any

import pytest

from infra.emulation import EmulatedAws, Fault
from stock_weather_pipeline.datasets import STOCK_PRICES
from stock_weather_pipeline.errors import (
    LakeError,
    QueryDeadlineError,
    QueryError,
    TransientLakeError,
    TransientQueryError,
    UnreadableFileError,
)
from stock_weather_pipeline.lake.aws.athena import Athena, _failed
from stock_weather_pipeline.lake.aws.cost import QUERY_COSTS, Ledger, QueryCost
from stock_weather_pipeline.lake.aws.errors import translated
from stock_weather_pipeline.lake.aws.session import AwsSession
from stock_weather_pipeline.lake.interfaces import Lake
from stock_weather_pipeline.layers.parquet import type_days
from stock_weather_pipeline_tests.lakes import land_prices

NOON = datetime(2024, 3, 1, 12, tzinfo=timezone.utc)


def athena(deadline_s: float, ledger: Ledger | None = None) -> Athena:
    return Athena(AwsSession(), "stock-weather", "stock-weather-results", deadline_s, ledger or Ledger(), poll_s=0.02)


def states(aws: EmulatedAws) -> list[str]:
    client = AwsSession().athena
    ids = client.list_query_executions(WorkGroup="stock-weather")["QueryExecutionIds"]
    found = client.batch_get_query_execution(QueryExecutionIds=ids)["QueryExecutions"]
    return [execution["Status"]["State"] for execution in found]


def test_a_result_tells_null_from_empty_text_and_has_athenas_types(lake: Lake) -> None:
    found = lake.rows(
        "SELECT '' AS empty, CAST(NULL AS VARCHAR) AS nothing, 'a,\"b' AS quoted, TRUE AS yes, "
        "CAST(7 AS INTEGER) AS i, CAST(8 AS BIGINT) AS b, 1e-300 AS tiny, DATE '2024-02-29' AS d, "
        "TIMESTAMP '2024-02-29 23:59:59.123' AS t, "
        "CAST(NULL AS DOUBLE) AS x"
    )
    day = date(2024, 2, 29)
    values = ["", None, 'a,"b', True, 7, 8, 1e-300, day, datetime(2024, 2, 29, 23, 59, 59, 123000), None]  # noqa: DTZ001
    assert [*found[0].values()] == values
    assert lake.engine.query("SELECT 1 AS a, 'x' AS a").column_names == ["a", "a"]
    assert lake.engine.query("SELECT CAST(NULL AS VARCHAR) AS only").to_pylist() == [{"only": None}]


def test_a_query_is_stopped_when_its_deadline_passes_and_what_it_cost_is_known(lake: Lake, aws: EmulatedAws) -> None:
    ledger = Ledger()
    aws.faults.slow_query(30)
    with pytest.raises(QueryDeadlineError, match=r"ran longer than 0\.3 s and was stopped: narrow it"):
        athena(0.3, ledger).table("SELECT 1 AS a")
    assert states(aws) == ["CANCELLED"]
    assert aws.calls.count("athena", "StopQueryExecution") == 1
    assert [cost.state for cost in ledger.take()] == ["CANCELLED"]


def test_a_query_is_stopped_when_the_run_is_cancelled(
    lake: Lake, aws: EmulatedAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws.faults.slow_query(30)
    asked = athena(60)
    running = asked.start("SELECT 1 AS a")

    def interrupted(_timeout: float) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(running.result, "result", interrupted)
        with pytest.raises(KeyboardInterrupt):
            asked.wait(running)
    assert states(aws) == ["CANCELLED"]


@pytest.mark.parametrize("fault", [Fault.THROTTLING, Fault.SERVER_ERROR])
@pytest.mark.parametrize("operation", ["StartQueryExecution", "GetQueryExecution", "GetQueryResults"])
def test_what_passes_is_waited_for(lake: Lake, aws: EmulatedAws, fault: Fault, operation: str) -> None:
    aws.faults.inject("athena", operation, fault, times=2)
    assert lake.rows("SELECT 1 AS a") == [{"a": 1}]
    assert len(states(aws)) == 1


def test_throttling_that_does_not_pass_is_one_transient_sentence(lake: Lake, aws: EmulatedAws) -> None:
    aws.faults.inject("athena", "StartQueryExecution", Fault.THROTTLING, times=1000)
    with pytest.raises(TransientQueryError, match=r"^Cannot query Athena: AWS throttles \(TooManyRequestsException\)"):
        lake.rows("SELECT 1 AS a")


def test_a_query_that_fails_by_a_fault_of_athenas_is_run_again(lake: Lake, aws: EmulatedAws) -> None:
    aws.faults.fail_query_halfway(times=2)
    assert lake.rows("SELECT 1 AS a") == [{"a": 1}]
    assert sorted(states(aws)) == ["FAILED", "FAILED", "SUCCEEDED"]
    aws.faults.fail_query_halfway(times=3)
    with pytest.raises(TransientQueryError, match=r"A worker was lost while the query ran \(query "):
        lake.rows("SELECT 1 AS a")


def test_what_is_wrong_for_good_is_not_run_again(lake: Lake, aws: EmulatedAws) -> None:
    with pytest.raises(QueryError) as raised:
        lake.rows("SELECT CAST('x' AS BIGINT) AS a")
    assert not isinstance(raised.value, (TransientLakeError, UnreadableFileError))
    assert states(aws) == ["FAILED"]


@pytest.mark.parametrize(
    ("reason", "category", "kind"),
    [
        ("HIVE_BAD_DATA: Malformed Parquet file", 2, UnreadableFileError),
        ("HIVE_CURSOR_ERROR: Row is not valid", 1, UnreadableFileError),
        ("GENERIC_INTERNAL_ERROR: null", 1, TransientQueryError),
        ("Query exhausted resources at this scale factor", 2, TransientQueryError),
        ("SYNTAX_ERROR: line 1:8: Column 'x' cannot be resolved", 2, QueryError),
        ("HIVE_TOO_MANY_OPEN_PARTITIONS: Exceeded limit of 100", 2, QueryError),
        ("Bytes scanned limit was exceeded", 2, QueryError),
    ],
)
def test_reasons_are_sorted_by_what_helps(reason: str, category: int, kind: type[QueryError]) -> None:
    finished = SimpleNamespace(query_id="q", state="FAILED", state_change_reason=reason, error_category=category)
    assert type(_failed(finished)) is kind


@pytest.mark.parametrize(
    ("code", "kind", "sentence"),
    [
        ("SlowDown", TransientLakeError, "AWS throttles (SlowDown), also after retries; run again later."),
        ("InternalError", TransientLakeError, "AWS failed for a moment (InternalError); run again."),
        ("AccessDenied", LakeError, "access denied; give the role this permission, or use the stack's role."),
        ("ExpiredToken", LakeError, "the AWS credentials have expired; sign in again."),
        ("Odd", LakeError, "Odd what happened."),
    ],
)
def test_errors_of_services_say_what_helps(code: str, kind: type[LakeError], sentence: str) -> None:
    error = translated("read s3://bucket/key", code, "what happened.")
    assert type(error) is kind
    assert str(error) == f"Cannot read s3://bucket/key: {sentence}"


def test_expired_credentials_are_one_sentence_from_every_service(lake: Lake, aws: EmulatedAws) -> None:
    for service, call in (
        ("s3", lambda: lake.objects.read("raw/x")),
        ("glue", lambda: lake.catalog.names("stock_weather")),
        ("athena", lambda: lake.rows("SELECT 1 AS a")),
    ):
        aws.faults.inject(service, "*", Fault.EXPIRED_TOKEN, times=1)
        with pytest.raises(LakeError, match=r"^Cannot .*: the AWS credentials have expired; sign in again\.$"):
            call()


@pytest.mark.parametrize(
    ("state", "kind", "scanned_bytes", "cost_usd"),
    [
        ("SUCCEEDED", "DML", 1, 10 * 1024**2 * 5e-12),
        ("SUCCEEDED", "DML", 10**12, 5.0),
        ("SUCCEEDED", "DDL", 0, 0.0),
        ("FAILED", "DML", 10**12, 0.0),
        ("CANCELLED", "DML", 10**12, 5.0),
        ("CANCELLED", "DML", 0, 0.0),
    ],
)
def test_a_query_costs_what_it_scans_and_at_least_ten_megabytes(
    state: str, kind: str, scanned_bytes: int, cost_usd: float
) -> None:
    assert QueryCost.of("q", state, kind, NOON, scanned_bytes, 1).cost_usd == pytest.approx(cost_usd)


def test_costs_are_settled_once_and_are_rows_that_can_be_queried(lake: Lake) -> None:
    days = [date(2024, 3, 1), date(2024, 3, 4)]
    land_prices(lake, days)
    type_days(lake, STOCK_PRICES, days)
    spent = lake.engine.settle("run-1", "parquet/stock_prices")
    assert spent is not None
    assert (spent.queries, spent.scanned_bytes > 0, spent.run_time_ms > 0) == (3, True, True)
    assert spent.cost_usd == pytest.approx(3 * 10 * 1024**2 * 5e-12)
    again = lake.engine.settle("run-1", "nothing")
    assert again is not None
    assert again.queries == 0
    rows = lake.rows(f"SELECT run_id, step, state, scanned_bytes, cost_usd FROM {QUERY_COSTS.qualified_name}")
    assert {(row["run_id"], row["step"], row["state"]) for row in rows} == {
        ("run-1", "parquet/stock_prices", "SUCCEEDED")
    }
    assert sum(row["scanned_bytes"] for row in rows) == spent.scanned_bytes
    assert sum(row["cost_usd"] for row in rows) == pytest.approx(spent.cost_usd)


def test_queries_of_several_threads_are_all_counted(lake: Lake) -> None:
    threads = [threading.Thread(target=lake.rows, args=("SELECT 1 AS a",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    spent = replace(lake).engine.settle("", "")
    assert spent is not None
    assert spent.queries == 8
