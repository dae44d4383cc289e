"""What docs/aws.md says the stack costs is what the arithmetic gives."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from infra.__main__ import main
from infra.cost import PRICES_AS_OF, TICKERS, Prices, Usage, monthly, table
from stock_weather_pipeline.dashboard.data import TOGETHER
from stock_weather_pipeline.dashboard.panels import PANELS
from stock_weather_pipeline_tests.infra.templates import INFRA, load, of_kind
from stock_weather_pipeline_tests.lake.aws.test_calls import NEXT_DAY_QUERIES

DOCUMENT = (INFRA.parent / "docs" / "aws.md").read_text(encoding="utf-8")


def test_the_table_in_the_documentation_is_the_computed_one() -> None:
    assert table() in DOCUMENT, "run `python -m infra.cost` and put its output into docs/aws.md"
    assert f"as of {PRICES_AS_OF}" in DOCUMENT


def test_only_storage_queries_and_delivery_grow_with_tickers() -> None:
    one, many = monthly(TICKERS[0]), monthly(TICKERS[-1])
    assert {name for name in one if many[name] > one[name]} == {"S3, storage", "Athena", "Firehose"}


def test_a_query_costs_no_less_than_its_minimum() -> None:
    usage = replace(Usage(), scanning_queries_a_day=0, dashboard_openings=1, queries_an_opening=1)
    more = replace(usage, queries_an_opening=2)
    a_query = monthly(1, usage=more)["Athena"] - monthly(1, usage=usage)["Athena"]
    assert a_query == pytest.approx(10e6 / 1e12 * 5.0)


def test_the_queries_are_those_that_are_counted() -> None:
    of_a_page = len(TOGETHER) + 1
    assert Usage().queries_a_day == NEXT_DAY_QUERIES + 2 * 6 + of_a_page
    variables = 2
    assert Usage().queries_an_opening == len(PANELS) + variables


def test_athena_is_billed_by_what_is_scanned() -> None:
    dearer = replace(Prices(), athena_tb=10.0)
    assert monthly(100, prices=dearer)["Athena"] == pytest.approx(2 * monthly(100)["Athena"])


def test_the_counts_in_the_text_are_the_templates() -> None:
    alarms = len(of_kind(load(), "AWS::CloudWatch::Alarm"))
    assert f"{alarms} alarms x 0.10 + 9 metrics x 0.30" in DOCUMENT
    expected = alarms * 0.10 + 9 * 0.30 + 3.0
    assert monthly(1, usage=replace(Usage(), log_bytes_a_day=0))["CloudWatch"] == pytest.approx(expected)


def test_every_command_is_documented_and_every_documented_one_exists() -> None:
    documented = set(re.findall(r"`python -m infra ([a-z-]+)", DOCUMENT)) | set(
        re.findall(r"`(destroy-dagster)`", DOCUMENT)
    )
    assert documented == set(main.commands)


def test_every_alarm_is_documented() -> None:
    for alarm in of_kind(load(), "AWS::CloudWatch::Alarm").values():
        name = alarm["Properties"]["AlarmName"]["Fn::Join"][1][-1].removeprefix("-")
        suffix = re.sub(r"^(StockPrices|Weather)", "…", name)
        assert suffix in DOCUMENT, name


def test_every_chosen_parameter_of_the_documentation_exists() -> None:
    declared = set(load()["Parameters"]) | {"ImageTag", "NAME"}
    assert set(re.findall(r"--set ([A-Za-z]+)=", DOCUMENT)) <= declared
