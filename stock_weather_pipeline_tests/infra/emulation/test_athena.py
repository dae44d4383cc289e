"""Athena's API on DuckDB, as boto3 and PyAthena see it."""

from __future__ import annotations

import io
import time
from datetime import date, datetime
from typing import Any

import boto3
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest
from mypy_boto3_athena.client import AthenaClient
from pyathena import connect
from pyathena.arrow.cursor import ArrowCursor
from pyathena.arrow.result_set import AthenaArrowResultSetMetadataReader
from pyiceberg.catalog.glue import GlueCatalog

from infra.emulation import EmulatedAws

DAYS = ("year", "month", "day")


class Account:
    """A raw CSV table with projection, a Parquet table with partitions, and the calls tests make."""

    def __init__(self, athena: AthenaClient) -> None:
        self.athena = athena
        self.s3 = boto3.client("s3")
        self.glue = boto3.client("glue")
        for bucket in ("raw", "parquet", "results"):
            self.s3.create_bucket(Bucket=bucket)
        for database in ("stock_weather", "stock_weather_raw", "stock_weather_parquet"):
            self.glue.create_database(DatabaseInput={"Name": database})
        self.athena.create_work_group(
            Name="work",
            Configuration={
                "EnforceWorkGroupConfiguration": True,
                "ResultConfiguration": {"OutputLocation": "s3://results/out/"},
                "BytesScannedCutoffPerQuery": 10_000_000,
            },
        )
        for day in range(1, 5):
            self.raw_file(day, f"A,{day}.5\nB,\n")
        self.glue.create_table(
            DatabaseName="stock_weather_raw",
            TableInput={
                "Name": "prices",
                "TableType": "EXTERNAL_TABLE",
                "PartitionKeys": [{"Name": name, "Type": "string"} for name in DAYS],
                "Parameters": {
                    "skip.header.line.count": "1",
                    "projection.enabled": "true",
                    "projection.year.type": "integer",
                    "projection.year.range": "2000,2100",
                    "projection.month.type": "integer",
                    "projection.month.range": "1,12",
                    "projection.month.digits": "2",
                    "projection.day.type": "integer",
                    "projection.day.range": "1,31",
                    "projection.day.digits": "2",
                    "storage.location.template": "s3://raw/raw/prices/year=${year}/month=${month}/day=${day}",
                },
                "StorageDescriptor": {
                    "Location": "s3://raw/raw/prices/",
                    "Columns": [{"Name": "ticker", "Type": "string"}, {"Name": "close", "Type": "string"}],
                    "SerdeInfo": {"SerializationLibrary": "org.apache.hadoop.hive.serde2.OpenCSVSerde"},
                },
            },
        )

    def raw_file(self, day: int, rows: str) -> None:
        key = f"raw/prices/year=2024/month=01/day={day:02}/prices.csv"
        self.s3.put_object(Bucket="raw", Key=key, Body=f"ticker,close\n{rows}".encode())

    def parquet_table(self, columns: dict[str, str]) -> None:
        self.glue.create_table(
            DatabaseName="stock_weather_parquet",
            TableInput={
                "Name": "prices",
                "TableType": "EXTERNAL_TABLE",
                "PartitionKeys": [{"Name": name, "Type": "string"} for name in DAYS],
                "StorageDescriptor": {
                    "Location": "s3://parquet/parquet/prices/",
                    "Columns": [{"Name": name, "Type": kind} for name, kind in columns.items()],
                    "SerdeInfo": {
                        "SerializationLibrary": "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe"
                    },
                },
            },
        )

    def partition(self, day: str, location: str) -> None:
        self.glue.create_partition(
            DatabaseName="stock_weather_parquet",
            TableName="prices",
            PartitionInput={"Values": ["2024", "01", day], "StorageDescriptor": {"Location": location}},
        )

    def start(self, sql: str, workgroup: str = "work") -> str:
        return self.athena.start_query_execution(
            QueryString=sql, WorkGroup=workgroup, QueryExecutionContext={"Database": "stock_weather"}
        )["QueryExecutionId"]

    def ended(self, identity: str) -> dict[str, Any]:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            execution = self.athena.get_query_execution(QueryExecutionId=identity)["QueryExecution"]
            if execution["Status"]["State"] not in ("QUEUED", "RUNNING"):
                return dict(execution)
            time.sleep(0.01)
        raise AssertionError(f"{identity} still runs")

    def run(self, sql: str, workgroup: str = "work") -> dict[str, Any]:
        return self.ended(self.start(sql, workgroup))

    def rows(self, sql: str) -> list[tuple[str | None, ...]]:
        execution = self.run(sql)
        assert execution["Status"]["State"] == "SUCCEEDED", execution["Status"]
        pages = self.athena.get_paginator("get_query_results").paginate(QueryExecutionId=execution["QueryExecutionId"])
        rows = [
            tuple(cell.get("VarCharValue") for cell in row["Data"]) for p in pages for row in p["ResultSet"]["Rows"]
        ]
        return rows[1:]

    def keys(self, bucket: str) -> list[str]:
        return [item["Key"] for item in self.s3.list_objects_v2(Bucket=bucket).get("Contents", [])]


@pytest.fixture
def account(aws: EmulatedAws) -> Account:
    return Account(boto3.client("athena"))


def test_a_projected_csv_table_is_read_as_text_and_only_the_days_asked_for_are_scanned(account: Account) -> None:
    sql = "SELECT ticker, close, day FROM stock_weather_raw.prices WHERE year = '2024' AND concat(month, day) > '0103'"
    assert account.rows(sql + " ORDER BY ticker") == [("A", "4.5", "04"), ("B", "", "04")]
    one_day = account.run(sql)["Statistics"]["DataScannedInBytes"]
    every_day = account.run("SELECT ticker FROM stock_weather_raw.prices")["Statistics"]["DataScannedInBytes"]
    assert one_day == len(b"ticker,close\nA,4.5\nB,\n")
    assert every_day == 4 * one_day


def test_a_day_outside_the_projection_is_not_there(account: Account) -> None:
    account.s3.put_object(
        Bucket="raw", Key="raw/prices/year=2024/month=1/day=09/prices.csv", Body=b"ticker,close\nC,1\n"
    )
    account.s3.put_object(
        Bucket="raw", Key="raw/prices/year=1999/month=01/day=09/prices.csv", Body=b"ticker,close\nC,1\n"
    )
    assert account.rows("SELECT count(*) AS n FROM stock_weather_raw.prices WHERE ticker = 'C'") == [("0",)]


def test_values_are_written_as_athena_writes_them(account: Account) -> None:
    sql = (
        "SELECT 1e0 / 3 AS third, 12345678e0 AS large, 1e-5 AS small, DATE '2024-02-29' AS day, true AS yes, "
        "TIMESTAMP '2024-01-02 03:04:05.678' AS moment, CAST(NULL AS DOUBLE) AS nothing, 'say \"hi\"' AS text"
    )
    row = (
        "0.3333333333333333",
        "1.2345678E7",
        "1.0E-5",
        "2024-02-29",
        "true",
        "2024-01-02 03:04:05.678",
        None,
        'say "hi"',
    )
    assert account.rows(sql) == [row]
    execution = account.run(sql)
    bucket, key = execution["ResultConfiguration"]["OutputLocation"].removeprefix("s3://").split("/", 1)
    text = account.s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode()
    assert text.splitlines()[0] == '"third","large","small","day","yes","moment","nothing","text"'
    assert text.splitlines()[1].endswith(',,"say ""hi"""')


def test_pyathena_reads_typed_arrow_from_the_result_file_and_from_an_unload(
    aws: EmulatedAws, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    def filesystem(_: object) -> pafs.S3FileSystem:
        return pafs.S3FileSystem(endpoint_override=aws.endpoint_url, access_key="a", secret_key="b", region="us-east-1")

    # PyArrow knows no AWS_ENDPOINT_URL, and PyAthena has no option for it.
    monkeypatch.setattr(AthenaArrowResultSetMetadataReader, "_create_s3_file_system", filesystem)
    connection = connect(
        work_group="work", region_name="us-east-1", s3_staging_dir="s3://results/out/", poll_interval=0.02
    )
    sql = (
        "SELECT ticker, CAST(NULLIF(close, '') AS DOUBLE) AS close, DATE '2024-01-04' AS day, 7 AS n, "
        "TIMESTAMP '2024-01-02 03:04:05' AS moment FROM stock_weather_raw.prices WHERE day = '04' ORDER BY ticker"
    )
    expected = [
        {"ticker": "A", "close": 4.5, "day": date(2024, 1, 4), "n": 7, "moment": datetime(2024, 1, 2, 3, 4, 5)},  # noqa: DTZ001
        {"ticker": "B", "close": None, "day": date(2024, 1, 4), "n": 7, "moment": datetime(2024, 1, 2, 3, 4, 5)},  # noqa: DTZ001
    ]
    with connection:
        for unload in (False, True):
            cursor = connection.cursor(ArrowCursor, unload=unload)
            table: pa.Table = cursor.execute(sql).as_arrow()
            assert table.to_pylist() == expected, unload
            assert table.schema.field("close").type == pa.float64()
            assert cursor.data_scanned_in_bytes == 22


def test_an_unload_is_read_back_through_partitions_at_the_folder_of_an_attempt(account: Account) -> None:
    unload = (
        "UNLOAD (SELECT ticker, CAST(NULLIF(close, '') AS DOUBLE) AS close, DATE '2024-01-01' AS trade_date, "
        "year, month, day FROM stock_weather_raw.prices) TO 's3://parquet/parquet/prices/attempt=1/' "
        "WITH (format = 'PARQUET', compression = 'ZSTD', partitioned_by = ARRAY['year', 'month', 'day'])"
    )
    execution = account.run(unload)
    assert execution["Status"]["State"] == "SUCCEEDED", execution["Status"]
    written = account.keys("parquet")
    assert len(written) == 4
    assert all(key.startswith("parquet/prices/attempt=1/year=2024/month=01/day=0") for key in written)
    manifest = execution["Statistics"]["DataManifestLocation"].removeprefix("s3://results/")
    listed = account.s3.get_object(Bucket="results", Key=manifest)["Body"].read().decode().split()
    assert sorted(listed) == [f"s3://parquet/{key}" for key in written]

    account.parquet_table({"ticker": "string", "close": "double", "trade_date": "date"})
    account.partition("02", "s3://parquet/parquet/prices/attempt=1/year=2024/month=01/day=02/")
    sql = "SELECT ticker, close, trade_date, day FROM stock_weather_parquet.prices ORDER BY ticker"
    assert account.rows(sql) == [("A", "2.5", "2024-01-01", "02"), ("B", None, "2024-01-01", "02")]

    again = account.run(unload)
    assert again["Status"]["State"] == "FAILED"
    assert again["Status"]["StateChangeReason"].startswith("HIVE_PATH_ALREADY_EXISTS")
    assert account.keys("parquet") == written


def test_an_unload_writes_at_most_100_partitions(account: Account) -> None:
    def unload(n: int) -> dict[str, Any]:
        return account.run(
            f"UNLOAD (SELECT 1 AS x, CAST(p AS VARCHAR) AS p FROM UNNEST(sequence(1, {n})) AS t (p)) "
            f"TO 's3://parquet/many-{n}/' WITH (format = 'PARQUET', partitioned_by = ARRAY['p'])"
        )

    assert unload(100)["Status"]["State"] == "SUCCEEDED"
    refused = unload(101)
    assert refused["Status"]["StateChangeReason"].startswith("HIVE_TOO_MANY_OPEN_PARTITIONS")
    assert refused["Status"]["AthenaError"]["ErrorCategory"] == 2
    assert len(account.keys("parquet")) == 100


def test_a_parquet_file_of_another_type_than_its_table_fails(account: Account) -> None:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"ticker": ["A"], "close": ["1.5"]}), buffer)
    account.s3.put_object(Bucket="parquet", Key="p/day/file", Body=buffer.getvalue())
    account.parquet_table({"ticker": "string", "close": "double"})
    account.partition("02", "s3://parquet/p/day/")
    status = account.run("SELECT close FROM stock_weather_parquet.prices")["Status"]
    assert status["State"] == "FAILED"
    assert status["StateChangeReason"].startswith("HIVE_BAD_DATA: Field close's type VARCHAR")


def test_iceberg_tables_are_read_at_their_current_snapshot(aws: EmulatedAws, account: Account) -> None:
    properties: Any = {"warehouse": "s3://parquet/prod/", "s3.endpoint": aws.endpoint_url}
    catalog = GlueCatalog("emulated", **properties)
    rows = pa.table({"ticker": ["A", "B"], "close": [1.5, None], "trade_date": [date(2024, 1, 2)] * 2})
    table = catalog.create_table("stock_weather.prices", schema=rows.schema)
    assert account.rows("SELECT ticker FROM prices") == []
    table.append(rows)
    table.overwrite(rows.slice(0, 1))
    assert account.rows("SELECT ticker, close, trade_date FROM prices") == [("A", "1.5", "2024-01-02")]


def test_views_are_created_replaced_and_refuse_to_run_once_stale(account: Account) -> None:
    account.parquet_table({"ticker": "string", "close": "double"})
    create = "VIEW stock_weather.closes AS SELECT ticker, close FROM stock_weather_parquet.prices"
    assert account.run(f"CREATE {create}")["Status"]["State"] == "SUCCEEDED"
    assert account.run(f"CREATE {create}")["Status"]["StateChangeReason"].startswith("ALREADY_EXISTS")
    assert account.run(f"CREATE OR REPLACE {create}")["Status"]["State"] == "SUCCEEDED"
    view = account.glue.get_table(DatabaseName="stock_weather", Name="closes")["Table"]
    assert view["TableType"] == "VIRTUAL_VIEW"
    assert view["ViewOriginalText"].startswith("/* Presto View: ")
    assert account.rows("SELECT * FROM closes") == []
    names = account.run("SHOW TABLES IN stock_weather")
    shown = account.athena.get_query_results(QueryExecutionId=names["QueryExecutionId"])["ResultSet"]["Rows"]
    assert [row["Data"][0]["VarCharValue"] for row in shown] == ["closes"]

    account.glue.delete_table(DatabaseName="stock_weather_parquet", Name="prices")
    account.parquet_table({"ticker": "string", "close": "string"})
    assert account.run("SELECT * FROM closes")["Status"]["StateChangeReason"].startswith("VIEW_IS_STALE")
    assert account.run("DROP VIEW closes")["Status"]["State"] == "SUCCEEDED"
    assert account.run("DROP VIEW IF EXISTS closes")["Status"]["State"] == "SUCCEEDED"
    assert account.run("DROP VIEW closes")["Status"]["StateChangeReason"].startswith("TABLE_NOT_FOUND")


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("SELEKT nonsense", "NOT_SUPPORTED"),
        ("SELECT ticker FROM", "SYNTAX_ERROR"),
        ("SELECT x FROM nowhere", "TABLE_NOT_FOUND"),
        ("SELECT nothing FROM stock_weather_raw.prices", "COLUMN_NOT_FOUND"),
        ("SELECT CAST(ticker AS INTEGER) AS n FROM stock_weather_raw.prices", "INVALID_CAST_ARGUMENT"),
        ("SELECT 1 / length(close) AS n FROM stock_weather_raw.prices", "DIVISION_BY_ZERO"),
        ("UNLOAD (SELECT 1 AS x) TO 's3://parquet/x/' WITH (format = 'ORC')", "NOT_SUPPORTED"),
        ("UNLOAD (SELECT 1 AS x) TO 's3://no-such-bucket/x/' WITH (format = 'PARQUET')", "HIVE_CANNOT_OPEN_SPLIT"),
    ],
)
def test_a_query_that_cannot_run_fails_with_its_reason(account: Account, sql: str, reason: str) -> None:
    status = account.run(sql)["Status"]
    assert status["State"] == "FAILED"
    assert status["StateChangeReason"].startswith(f"{reason}: ")
    assert status["AthenaError"]["ErrorMessage"] == status["StateChangeReason"]


def test_a_workgroup_cancels_what_reads_too_much_and_enforces_its_place_for_results(account: Account) -> None:
    account.raw_file(9, "A,1\n" * 3_000_000)
    execution = account.run("SELECT ticker FROM stock_weather_raw.prices")
    assert execution["Status"]["State"] == "CANCELLED"
    assert "Bytes scanned limit was exceeded" in execution["Status"]["StateChangeReason"]
    identity = account.athena.start_query_execution(
        QueryString="SELECT 1 AS x", WorkGroup="work", ResultConfiguration={"OutputLocation": "s3://raw/elsewhere/"}
    )["QueryExecutionId"]
    assert account.ended(identity)["ResultConfiguration"]["OutputLocation"] == f"s3://results/out/{identity}.csv"
    with pytest.raises(account.athena.exceptions.InvalidRequestException, match="WorkGroup is not found"):
        account.start("SELECT 1 AS x", "none")
    with pytest.raises(account.athena.exceptions.InvalidRequestException, match="longer than the maximum of 262144"):
        account.start(f"SELECT '{'x' * 262_144}' AS x")


def test_the_same_request_token_starts_one_query(account: Account) -> None:
    token = "t" * 32
    first, second = (
        account.athena.start_query_execution(QueryString="SELECT 1 AS x", WorkGroup="work", ClientRequestToken=token)[
            "QueryExecutionId"
        ]
        for _ in range(2)
    )
    assert first == second


def test_a_slow_query_runs_until_it_is_stopped(aws: EmulatedAws, account: Account) -> None:
    aws.faults.slow_query(60)
    identity = account.start("SELECT 1 AS x")
    state = account.athena.get_query_execution(QueryExecutionId=identity)["QueryExecution"]["Status"]["State"]
    assert state in ("QUEUED", "RUNNING")
    account.athena.stop_query_execution(QueryExecutionId=identity)
    assert account.ended(identity)["Status"]["State"] == "CANCELLED"
    assert account.rows("SELECT 1 AS x") == [("1",)]


def test_a_query_that_fails_halfway_leaves_some_files_of_its_unload(aws: EmulatedAws, account: Account) -> None:
    aws.faults.fail_query_halfway()
    unload = (
        "UNLOAD (SELECT ticker, day FROM stock_weather_raw.prices) TO 's3://parquet/{}/' "
        "WITH (format = 'PARQUET', partitioned_by = ARRAY['day'])"
    )
    status = account.run(unload.format("one"))["Status"]
    assert status["State"] == "FAILED"
    assert status["AthenaError"]["ErrorCategory"] == 1
    assert len(account.keys("parquet")) == 2
    assert account.run(unload.format("two"))["Status"]["State"] == "SUCCEEDED"
