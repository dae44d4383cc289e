"""What the files say of themselves: names, order, comments, dependencies."""

from __future__ import annotations

import pytest

from stock_weather_pipeline.datasets import DATASETS
from stock_weather_pipeline.lake.dialect import parse, table_references
from stock_weather_pipeline.partitions import PartitionSet
from stock_weather_pipeline.views import VIEWS, parse_view
from stock_weather_pipeline_tests.views.conftest import OverTables

BAR = "open high low close volume vwap transactions"
COLUMNS = {
    "stock_prices_adjusted": f"ticker trade_date {BAR} split_factor",
    "daily_change": "ticker trade_date close change_pct",
    "moving_averages": "ticker trade_date close sma_7 sma_30",
    "macd": "ticker trade_date close macd signal histogram",
    "bollinger_bands": "ticker trade_date close middle_band upper_band lower_band",
    "volatility": "ticker trade_date volatility_20 range_pct",
    "weather_daily": "location local_date temperature_min_c temperature_max_c temperature_mean_c precipitation_mm "
    "wind_speed_max_kmh hours",
    "stock_weather": "ticker trade_date close change_pct location temperature_min_c temperature_max_c "
    "temperature_mean_c precipitation_mm wind_speed_max_kmh hours",
}
TYPES = {"ticker": "VARCHAR", "location": "VARCHAR", "trade_date": "DATE", "local_date": "DATE"} | dict.fromkeys(
    ("transactions", "hours"), "BIGINT"
)


def test_there_are_the_views_that_users_type() -> None:
    assert set(VIEWS) == set(COLUMNS)


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_are_the_ones_promised_in_order_and_type(over_tables: OverTables, name: str) -> None:
    described = over_tables().schema[("stock_weather", name)]
    assert list(described) == COLUMNS[name].split()
    assert described == {column: TYPES.get(column, "DOUBLE") for column in described}


@pytest.mark.parametrize("name", COLUMNS)
def test_every_column_has_a_comment_in_the_order_of_the_select(name: str) -> None:
    assert list(VIEWS[name].columns) == COLUMNS[name].split()
    assert all(comment.endswith((".", "]")) for comment in VIEWS[name].columns.values())
    assert VIEWS[name].description.endswith(".")


def test_a_view_comes_after_the_ones_it_reads() -> None:
    seen: set[str] = set(DATASETS)
    for view in VIEWS.values():
        assert set(view.depends_on) <= seen
        seen.add(view.name)


def test_days_and_entities_follow_from_the_key() -> None:
    weather, stocks = VIEWS["weather_daily"], VIEWS["stock_weather"]
    assert (weather.day_column, weather.entity, weather.partition_set) == ("local_date", "location", PartitionSet.DAYS)
    assert (stocks.day_column, stocks.entity, stocks.partition_set) == ("trade_date", "ticker", PartitionSet.SESSIONS)
    assert stocks.key == ("ticker", "trade_date", "location")


@pytest.mark.parametrize("name", COLUMNS)
def test_the_dependencies_that_a_view_names_are_those_of_its_sql(name: str) -> None:
    view = VIEWS[name]
    assert view.depends_on == tuple(table for _, table in table_references(parse(view.sql)))


HEADER = (
    "-- Of what.\n--\n-- Key: ticker, trade_date\n-- Reads: stock_prices\n--\n"
    "-- ticker: Who.\n-- trade_date: When,\n--   in New York.\n\n"
)


def test_a_files_opening_comment_is_read() -> None:
    view = parse_view("some", HEADER + "SELECT ticker, trade_date FROM stock_prices\n")
    assert view.description == "Of what."
    assert view.depends_on == ("stock_prices",)
    assert dict(view.columns) == {"ticker": "Who.", "trade_date": "When, in New York."}
    assert view.sql == "SELECT ticker, trade_date FROM stock_prices\n"


def test_the_code_version_changes_with_the_sql_and_not_with_a_comment() -> None:
    one = parse_view("some", HEADER + "SELECT 1")
    assert one.code_version == parse_view("some", HEADER.replace("Who", "Whose") + "SELECT 1").code_version
    assert one.code_version != parse_view("some", HEADER + "SELECT 2").code_version


@pytest.mark.parametrize(
    "header",
    [
        "-- Of what.\n\n",
        HEADER.replace("Key", "Keys"),
        HEADER.replace("y: ticker", "y: tick"),
        HEADER.replace("-- Reads: stock_prices\n", ""),
    ],
)
def test_a_file_without_its_opening_comment_is_named(header: str) -> None:
    with pytest.raises(ValueError, match=r"views/some\.sql"):
        parse_view("some", header + "SELECT 1")
