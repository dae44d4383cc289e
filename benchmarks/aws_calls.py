"""Calls to AWS and bytes on Athena: a backfill, a daily run and a look at the dashboard, against a plain layout.

The plain layout is what tutorials do with the same days: CSV objects below one prefix, without partitions. Every night
and for each of two datasets, one CREATE TABLE AS types all of them into Parquet, two queries look for missing values
and repeated rows, and one CREATE TABLE AS copies that into the published table. Its dashboard asks the same panels, but
for the pipeline's health, one by one. A CREATE TABLE AS is written as UNLOAD, which reads and writes the same.

Against the emulated account, whose limits are in infra/emulation/README.md. Bytes are those that the engine reads of
the columns and row groups it needs; billed are 10 MB a query at least. How often a running query is asked after is not
counted: that depends on how long it takes.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from benchmarks import data
from benchmarks.backfill import environment
from benchmarks.measuring import child, machine, python
from infra.emulation.lake_account import BUCKETS, SETTINGS, WORKGROUP, make_lake_account
from stock_weather_pipeline.datasets import LOCATIONS, PARTITIONED, STOCK_SPLITS, Dataset
from stock_weather_pipeline.datasets.contract import ColumnType

if TYPE_CHECKING:
    from infra.emulation import EmulatedAws

LEAST_BYTES = 10 * 1024 * 1024
"""What Athena bills for any query but definitions."""

_PLAIN = "plain"


@dataclass(frozen=True)
class Usage:
    """What something asked of AWS: queries, calls of any service, bytes that the queries scanned and are billed for."""

    queries: int
    calls: int
    scanned_bytes: int
    billed_bytes: int


class Account:
    """An empty emulated account with what the stack makes for the lake, and what is used of it."""

    def __init__(self, aws: EmulatedAws) -> None:
        import boto3

        self._aws = aws
        self.athena: Any = boto3.client("athena")
        self.glue: Any = boto3.client("glue")
        self.s3: Any = boto3.client("s3")
        make_lake_account()
        self.glue.create_database(DatabaseInput={"Name": _PLAIN})

    def used_by(self, action: Callable[[], object]) -> Usage:
        """What the action asks of the account. Queries that define views scan nothing and are free."""
        before = set(self._queries())
        self._aws.calls.reset()
        action()
        calls = sum(sum(found.values()) for found in self._aws.calls.by_service().values())
        polls = self._aws.calls.count("athena", "GetQueryExecution")
        asked = set(self._queries()) - before
        found = [self.athena.get_query_execution(QueryExecutionId=one)["QueryExecution"] for one in asked]
        scanned = [one["Statistics"]["DataScannedInBytes"] for one in found if one["StatementType"] != "DDL"]
        billed = sum(max(size, LEAST_BYTES) for size in scanned)
        return Usage(len(asked), calls - polls, sum(scanned), billed)

    def _queries(self) -> list[str]:
        found: list[str] = self.athena.list_query_executions(WorkGroup=WORKGROUP)["QueryExecutionIds"]
        return found

    def query(self, sql: str) -> None:
        """Run a statement in the plain layout's database and fetch its result, as a script would."""
        identity = self.athena.start_query_execution(
            QueryString=sql, WorkGroup=WORKGROUP, QueryExecutionContext={"Database": _PLAIN}
        )["QueryExecutionId"]
        while (status := self._status(identity))["State"] in ("QUEUED", "RUNNING"):
            time.sleep(0.05)
        if status["State"] != "SUCCEEDED":
            raise RuntimeError(f"{status['StateChangeReason']}\n{sql}")
        self.athena.get_query_results(QueryExecutionId=identity)

    def _status(self, identity: str) -> Mapping[str, Any]:
        status: Mapping[str, Any] = self.athena.get_query_execution(QueryExecutionId=identity)["QueryExecution"][
            "Status"
        ]
        return status


class Plain:
    """The plain layout in a database of the account, of the raw files that the pipeline has there."""

    def __init__(self, account: Account) -> None:
        self._account = account
        for dataset in PARTITIONED:
            self._define(f"{dataset.name}_csv", "stock_weather_raw", dataset, self._place("raw", dataset, "csv"))

    def complete(self) -> None:
        """Make what the dashboard's questions need beside the two tables: the small ones, and the views."""
        from stock_weather_pipeline.views import VIEWS

        for dataset in (LOCATIONS, STOCK_SPLITS):
            found = self._account.glue.get_table(DatabaseName="stock_weather_parquet", Name=dataset.name)["Table"]
            self._define(dataset.name, "stock_weather_parquet", dataset, found["StorageDescriptor"]["Location"])
        for view in VIEWS.values():
            self._account.query(f"CREATE OR REPLACE VIEW {view.name} AS {view.sql}")

    def files(self, first: date, last: date) -> dict[str, bytes]:
        """The raw files of the days, under the keys that they have in the plain layout."""
        found = {}
        for dataset in PARTITIONED:
            pages = self._account.s3.get_paginator("list_objects_v2").paginate(
                Bucket=BUCKETS["raw"], Prefix=f"raw/{dataset.name}/"
            )
            for key in (item["Key"] for page in pages for item in page.get("Contents", [])):
                day = date(*(int(part.split("=")[1]) for part in key.split("/")[2:5]))
                if first <= day <= last:
                    content = self._account.s3.get_object(Bucket=BUCKETS["raw"], Key=key)["Body"].read()
                    found[f"{_PLAIN}/{dataset.name}/csv/{day}.csv"] = content
        return found

    def night(self, delivered: Mapping[str, bytes]) -> None:
        """What came is put into the raw bucket; then everything is made anew."""
        for key, content in delivered.items():
            self._account.s3.put_object(Bucket=BUCKETS["raw"], Key=key, Body=content)
        for dataset in PARTITIONED:
            typed = f"{dataset.name}_typed"
            self._create_as(typed, dataset, f"SELECT DISTINCT {_typed(dataset)} FROM {dataset.name}_csv")
            missing = " OR ".join(f"{name} IS NULL" for name in dataset.required)
            self._account.query(f"SELECT count(*) AS n FROM {typed} WHERE {missing}")
            key = ", ".join(dataset.key)
            self._account.query(f"SELECT {key}, count(*) AS n FROM {typed} GROUP BY {key} HAVING count(*) > 1")
            self._create_as(dataset.name, dataset, f"SELECT * FROM {typed}")

    def dashboard(self, tickers: Sequence[str], first: date) -> None:
        """Every panel of stocks and weather."""
        from stock_weather_pipeline.dashboard.panels import PANELS, Section

        for panel in PANELS.values():
            if panel.section is not Section.HEALTH:
                self._account.query(
                    panel.statement(
                        tickers=", ".join(f"'{ticker}'" for ticker in tickers),
                        locations="'New York', 'Santa Clara'",
                        days=lambda column: f"{column} >= DATE '{first}'",
                    )
                )

    def _create_as(self, table: str, dataset: Dataset, select: str) -> None:
        place = self._place("parquet", dataset, table)
        old = self._account.s3.list_objects_v2(Bucket=BUCKETS["parquet"], Prefix=place.split("/", 3)[3])
        if old.get("Contents"):
            gone = [{"Key": item["Key"]} for item in old["Contents"]]
            self._account.s3.delete_objects(Bucket=BUCKETS["parquet"], Delete={"Objects": gone})
        self._account.query(f"UNLOAD ({select}) TO '{place}' WITH (format = 'PARQUET', compression = 'SNAPPY')")
        self._define(table, "stock_weather_parquet", dataset, place)

    def _define(self, name: str, like: str, dataset: Dataset, place: str) -> None:
        """A table with the columns of the pipeline's, without partitions."""
        found = self._account.glue.get_table(DatabaseName=like, Name=dataset.name)["Table"]
        parameters = {key: text for key, text in found["Parameters"].items() if "projection" not in key}
        parameters.pop("storage.location.template", None)
        with suppress(self._account.glue.exceptions.EntityNotFoundException):
            self._account.glue.delete_table(DatabaseName=_PLAIN, Name=name)
        self._account.glue.create_table(
            DatabaseName=_PLAIN,
            TableInput={
                "Name": name,
                "TableType": "EXTERNAL_TABLE",
                "Parameters": parameters,
                "StorageDescriptor": {**found["StorageDescriptor"], "Location": place},
            },
        )

    def _place(self, bucket: str, dataset: Dataset, table: str) -> str:
        return f"s3://{BUCKETS[bucket]}/{_PLAIN}/{dataset.name}/{table}/"


def compare(ticker_count: int, session_count: int) -> dict[str, tuple[Usage, Usage]]:
    """Usage of the pipeline and of the plain layout, for the backfill, the day after it and the dashboard."""
    from infra.emulation import emulated_aws
    from stock_weather_pipeline.dashboard.data import MOST_TICKERS, read
    from stock_weather_pipeline.lake.opening import open_lake
    from stock_weather_pipeline.settings import load_settings

    *days, newest = data.sessions(session_count + 1)
    tickers = data.listed_tickers(ticker_count, days[0])
    with tempfile.TemporaryDirectory() as folder, emulated_aws() as aws:
        variables = {
            **environment(Path(folder), days[0]),
            **aws.environment,
            **SETTINGS,
            "STOCK_WEATHER_TICKERS": ",".join(tickers),
        }
        with patch.dict(os.environ, variables):
            account = Account(aws)
            ours = [
                account.used_by(lambda: child(_run(days[0], days[-1]))),
                account.used_by(lambda: child(_run(newest, newest))),
                account.used_by(lambda: read(open_lake(load_settings()))),
            ]
            plain = Plain(account)
            history, night = plain.files(days[0], days[-1]), plain.files(newest, newest)
            theirs = [account.used_by(lambda: plain.night(history)), account.used_by(lambda: plain.night(night))]
            plain.complete()
            theirs.append(account.used_by(lambda: plain.dashboard(tickers[:MOST_TICKERS], days[0])))
    return dict(zip(("backfill", "daily run", "dashboard"), zip(ours, theirs, strict=True), strict=True))


def main(arguments: Sequence[str] | None = None) -> str:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tickers", type=int, default=50)
    parser.add_argument("--sessions", type=int, default=126, help="sessions of the backfill; weather has every day")
    chosen = parser.parse_args(arguments)
    compared = compare(chosen.tickers, chosen.sessions)
    lines = [
        f"{chosen.tickers} tickers and two places, {chosen.sessions} sessions; the emulated account",
        machine(),
        "",
        f"{'':26}{'ours':>12}{'plain':>12}{'ours / plain':>14}",
    ]
    for what, (ours, plain) in compared.items():
        rows = {
            "queries": (ours.queries, plain.queries),
            "calls, polling aside": (ours.calls, plain.calls),
            "MB scanned": (ours.scanned_bytes / 1e6, plain.scanned_bytes / 1e6),
            "MB billed": (ours.billed_bytes / 1e6, plain.billed_bytes / 1e6),
        }
        lines.append(what)
        lines += [
            f"  {name:24}{left:12,.{digits}f}{right:12,.{digits}f}{left / right if right else float('nan'):14.2f}"
            for name, (left, right) in rows.items()
            for digits in [1 if name.startswith("MB") else 0]
        ]
    return "\n".join(lines)


def _typed(dataset: Dataset) -> str:
    """The columns of a CSV in their types, as a tutorial casts them."""
    values = []
    for column in dataset.columns:
        text = f"NULLIF({column.name}, '')"
        if column.type is ColumnType.TIMESTAMP:
            text = f"replace({text}, 'T', ' ')"
        values.append(f"CAST({text} AS {column.type.value}) AS {column.name}")
    return ", ".join(values)


def _run(first: date, last: date) -> list[str]:
    return python("stock_weather_pipeline.cli", "run", "--start", str(first), "--end", str(last))


if __name__ == "__main__":
    print(main())  # noqa: T201 - a script
