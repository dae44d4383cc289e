"""Every view can be made on an empty lake, and is made again only when it differs."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from stock_weather_pipeline.datasets import STOCK_PRICES
from stock_weather_pipeline.lake.interfaces import Lake
from stock_weather_pipeline.layers import views
from stock_weather_pipeline.layers.parquet import type_days
from stock_weather_pipeline.layers.prod import publish
from stock_weather_pipeline.partitions import sessions
from stock_weather_pipeline.views import VIEWS
from stock_weather_pipeline_tests.lakes import land_prices


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_can_be_made_and_queried_before_there_is_any_data(lake: Lake, name: str) -> None:
    view = VIEWS[name]
    views.create(lake, view)
    found = lake.engine.query(f"SELECT * FROM {name}")
    assert (found.num_rows, found.schema.names) == (0, list(view.columns))
    assert views.read(lake, view, [date(2024, 1, 9)]).per_day == {}
    before = lake.objects.list("catalog/stock_weather/")
    views.create(lake, view)
    assert lake.objects.list("catalog/stock_weather/") == before


def test_rows_are_counted_for_the_asked_days(lake: Lake) -> None:
    days = sessions(date(2024, 1, 2), date(2024, 1, 12))
    land_prices(lake, days, "AAPL", "NVDA")
    type_days(lake, STOCK_PRICES, days)
    publish(lake, STOCK_PRICES, days, "run")
    view = VIEWS["daily_change"]
    views.create(lake, view)
    assert views.read(lake, view, [days[0], days[3]]).per_day == {
        days[0]: views.DayRows(2, "AAPL"),
        days[3]: views.DayRows(2, "AAPL"),
    }


def test_the_newest_rows_are_of_one_ticker_in_ascending_order(lake: Lake) -> None:
    days = sessions(date(2024, 1, 2), date(2024, 6, 12))
    land_prices(lake, days, "AAPL", "NVDA")
    type_days(lake, STOCK_PRICES, days)
    publish(lake, STOCK_PRICES, days, "run")
    view = VIEWS["daily_change"]
    views.create(lake, view)
    found = views.read(lake, view, [days[-2]])
    rows = views.newest_rows(lake, view, found)
    assert {row["ticker"] for row in rows} == {"AAPL"}
    assert [row["trade_date"] for row in rows] == sessions(date(2024, 3, 11), days[-2])
    not_sampled = replace(found, sample=found.sample.slice(0, 0))
    assert views.newest_rows(lake, view, not_sampled) == rows
    unknown = replace(found, per_day={days[-2]: views.DayRows(1, "O'NEIL")})
    assert views.newest_rows(lake, view, unknown) == []


def test_a_view_is_asked_once_until_what_it_reads_has_changed(lake: Lake) -> None:
    days = sessions(date(2024, 1, 2), date(2024, 1, 12))
    view = VIEWS["daily_change"]
    views.create(lake, view)

    def published(until: date) -> views.ViewRows:
        some = [day for day in days if day <= until]
        land_prices(lake, some)
        type_days(lake, STOCK_PRICES, some)
        publish(lake, STOCK_PRICES, some, "run")
        return views.read(lake, view, days)

    first = published(days[2])
    assert list(first.per_day)
    assert first.sample.num_rows == 3
    assert views.read(lake, view, days).sample == first.sample
    assert len(lake.answers) == 2
    assert published(days[3]).sample.num_rows == 4
    changed = replace(view, sql=view.sql.replace("1e2", "1e3"))
    views.create(lake, changed)
    assert views.read(lake, view, days).sample["change_pct"] != first.sample["change_pct"]


def test_base_tables_are_found_through_views() -> None:
    assert views.base_tables(VIEWS["macd"]) == {"stock_prices", "stock_splits"}
    assert {"stock_prices", "weather"} <= views.base_tables(VIEWS["stock_weather"])
