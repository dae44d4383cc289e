"""Drift is told column by column, and a guess of the crawler that fits the contract is none."""

from __future__ import annotations

import boto3
import pytest

from infra.emulation import EmulatedAws
from stock_weather_pipeline.cloud.drift import DATABASE, Crawled, crawled_tables, drift
from stock_weather_pipeline.datasets import PARTITIONED, STOCK_PRICES, WEATHER
from stock_weather_pipeline.errors import LakeError
from stock_weather_pipeline.lake.aws.session import AwsSession
from stock_weather_pipeline_tests.infra.emulation.conftest import aws

__all__ = ["aws"]

PRICES = [
    ("ticker", "string"),
    ("trade_date", "string"),
    ("open", "double"),
    ("high", "bigint"),
    ("low", "decimal(10,2)"),
    ("close", "double"),
    ("volume", "bigint"),
    ("vwap", "double"),
    ("transactions", "bigint"),
]


def test_guesses_that_the_contract_can_hold_are_no_drift() -> None:
    assert drift({"stock_prices": PRICES}) == {}
    assert drift({"stock_prices": [*PRICES, ("year", "string"), ("month", "string"), ("day", "string")]}) == {}


def test_nothing_crawled_and_strangers_are_no_drift() -> None:
    assert drift({}) == {}
    assert drift({"superseded": [("a", "string")]}) == {}


@pytest.mark.parametrize(
    ("columns", "sentences"),
    [
        (PRICES[:-1], ["stock_prices.transactions is missing"]),
        ([*PRICES, ("otc", "boolean")], ["stock_prices.otc is not in the contract"]),
        (
            [*PRICES[:-1], ("trades", "bigint")],
            ["stock_prices.transactions is missing", "stock_prices.trades is not in the contract"],
        ),
        (
            [("open", "string") if name == "open" else (name, kind) for name, kind in PRICES],
            ["stock_prices.open looks like string, the contract says DOUBLE"],
        ),
        (
            [PRICES[1], PRICES[0], *PRICES[2:]],
            [
                "the columns of stock_prices stand in another order: "
                + ", ".join(["trade_date", "ticker", *STOCK_PRICES.column_names[2:]])
            ],
        ),
    ],
)
def test_drift_is_told_column_by_column(columns: list[tuple[str, str]], sentences: list[str]) -> None:
    assert drift({"stock_prices": columns}) == {"stock_prices": sentences}


def test_files_that_the_crawler_could_not_combine_are_told() -> None:
    crawled: Crawled = {"stock_prices": PRICES, "stock_prices_1f2e": PRICES[:-1]}
    assert drift(crawled) == {
        "stock_prices": [
            "the files of stock_prices do not fit together: the crawler made stock_prices, stock_prices_1f2e",
            "stock_prices_1f2e.transactions is missing",
        ]
    }


def test_the_crawlers_tables_are_read_from_its_own_database(aws: EmulatedAws) -> None:
    with pytest.raises(LakeError, match=f"Cannot read the tables of the Glue database {DATABASE}: EntityNotFound"):
        crawled_tables(AwsSession())
    glue = boto3.client("glue")
    glue.create_database(DatabaseInput={"Name": DATABASE})
    for dataset in PARTITIONED:
        glue.create_table(
            DatabaseName=DATABASE,
            TableInput={
                "Name": dataset.name,
                "StorageDescriptor": {"Columns": [{"Name": name, "Type": "string"} for name in dataset.column_names]},
            },
        )
    crawled = crawled_tables(AwsSession())
    assert [name for name, _ in crawled["weather"]] == list(WEATHER.column_names)
    assert f"{STOCK_PRICES.name}.open looks like string, the contract says DOUBLE" in drift(crawled)["stock_prices"]
