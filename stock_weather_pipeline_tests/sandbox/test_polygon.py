"""The stock endpoints: shapes, time stamps, adjustment, paging, limits."""

from __future__ import annotations

import json
import re
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from stock_weather_pipeline.partitions import sessions
from stock_weather_pipeline.sandbox import Sandbox
from stock_weather_pipeline.sandbox.answers import number_text
from stock_weather_pipeline_tests.sandbox.conftest import NOW, Client

NEW_YORK = ZoneInfo("America/New_York")


def in_new_york(row: dict[str, Any]) -> datetime:
    return datetime.fromtimestamp(row["t"] / 1000, NEW_YORK)


def test_a_range_has_one_bar_a_session_stamped_midnight_in_new_york_across_the_clock_change(client: Client) -> None:
    body = client.bars("NVDA", "2024-03-04", "2024-03-15", adjusted="false").json()
    assert [in_new_york(row).date() for row in body["results"]] == sessions(date(2024, 3, 4), date(2024, 3, 15))
    assert {in_new_york(row).hour for row in body["results"]} == {0}
    assert {datetime.fromtimestamp(row["t"] / 1000, timezone.utc).hour for row in body["results"]} == {4, 5}
    assert (body["ticker"], body["status"], body["adjusted"]) == ("NVDA", "OK", False)
    assert body["queryCount"] == body["resultsCount"] == body["count"] == 10


def test_the_grouped_day_has_the_same_bars_as_the_ranges_but_stamped_at_the_close(client: Client) -> None:
    rows = client.grouped("2024-03-11", adjusted="false").json()["results"]
    assert len(rows) > 300
    assert {in_new_york(row).isoformat() for row in rows} == {"2024-03-11T16:00:00-04:00"}
    for row in rows[::40]:
        (bar,) = client.bars(row["T"], "2024-03-11", "2024-03-11", adjusted="false").json()["results"]
        assert bar | {"t": 0} == {key: value for key, value in row.items() if key != "T"} | {"t": 0}


def test_the_previous_day_is_the_last_closed_session_stamped_at_the_close(client: Client) -> None:
    body = client.get("/v2/aggs/ticker/NVDA/prev").json()
    assert in_new_york(body["results"][0]).isoformat() == "2026-07-14T16:00:00-04:00"
    assert (body["ticker"], body["results"][0]["T"]) == ("NVDA", "NVDA")


def test_numbers_are_written_as_the_vendor_writes_them(client: Client) -> None:
    text = client.bars("NVDA", "2024-06-10", "2024-06-10").text
    assert re.search(r'"v":\d\.\d+e\+08,', text)
    assert re.search(r'"t":1717992000000[,}]', text)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (181724024.0, "1.81724024e+08"),
        (58571070.0, "5.857107e+07"),
        (70661926.525697, "7.0661926525697e+07"),
        (1e6, "1e+06"),
        (394280.0, "394280"),
        (25933.6, "25933.6"),
        (150.0, "150"),
        (-0.5, "-0.5"),
        (1736917200000, "1736917200000"),
        (None, "null"),
        (float("nan"), "null"),
    ],
)
def test_a_number_has_the_recorded_text(number: float | None, text: str) -> None:
    assert number_text(number) == text


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e15, max_value=1e15))
def test_a_number_reads_back_the_same(number: float) -> None:
    assert float(number_text(number)) == number
    assert json.loads(number_text(number)) == number


def test_bars_are_adjusted_for_later_splits_unless_asked_otherwise(client: Client) -> None:
    for day, multiple in (("2024-06-07", 10), ("2024-06-10", 1), ("2021-07-19", 40), ("1999-03-01", 480)):
        (adjusted,) = client.bars("NVDA", day, day).json()["results"]
        (as_traded,) = client.bars("NVDA", day, day, adjusted="false").json()["results"]
        assert adjusted["c"] == pytest.approx(as_traded["c"] / multiple, abs=6e-5)
        assert adjusted["v"] == pytest.approx(as_traded["v"] * multiple)
        if day != "1999-03-01":
            (row,) = [row for row in client.grouped(day).json()["results"] if row["T"] == "NVDA"]
            assert row["c"] == adjusted["c"]


@pytest.mark.parametrize(
    ("ticker", "first", "last"), [("NOSUCH", "2024-06-03", "2024-06-07"), ("NVDA", *["2024-07-04"] * 2)]
)
def test_nothing_found_is_a_success_without_results(client: Client, ticker: str, first: str, last: str) -> None:
    response = client.bars(ticker, first, last)
    assert response.status_code == 200
    body = response.json()
    assert body.pop("request_id")
    assert body == {
        "ticker": ticker,
        "queryCount": 0,
        "resultsCount": 0,
        "adjusted": True,
        "status": "OK",
        "count": 0,
    }


def test_a_ticker_is_case_sensitive_and_may_hold_anything_the_path_can_quote(client: Client) -> None:
    assert client.bars("KIMpL", "2024-06-03", "2024-06-03").json()["resultsCount"] == 1
    assert client.bars("KIMPL", "2024-06-03", "2024-06-03").json()["resultsCount"] == 0
    assert client.bars("A%2F..%27B", "2024-06-03", "2024-06-03").json()["ticker"] == "A/..'B"


def test_the_grouped_answer_is_empty_on_a_holiday(client: Client) -> None:
    response = client.grouped("2024-07-04")
    assert (response.status_code, response.json()["resultsCount"], "results" in response.json()) == (200, 0, False)


@pytest.mark.parametrize("sort", ["asc", "desc"])
def test_a_range_is_paged_by_next_url_which_holds_no_key(client: Client, sort: str) -> None:
    url: str | None = None
    pages: list[dict[str, Any]] = []
    while not pages or url:
        response = (
            client.session.get(url, headers={"Authorization": "Bearer any-key"}, timeout=10)
            if url
            else client.bars("NVDA", "2024-01-02", "2024-06-28", limit=50, sort=sort, adjusted="false", apiKey="secret")
        )
        pages.append(response.json())
        url = pages[-1].get("next_url")
        assert url is None or (url.startswith(client.sandbox.url) and "secret" not in url and "apiKey" not in url)
    assert [page["resultsCount"] for page in pages] == [50, 50, 24]
    found = [row for page in pages for row in page["results"]]
    whole = client.bars("NVDA", "2024-01-02", "2024-06-28", sort=sort, adjusted="false").json()
    assert found == whole["results"]
    assert "next_url" not in whole


def test_a_page_has_5000_bars_unless_asked_and_50000_at_most(client: Client) -> None:
    body = client.bars("NVDA", "2000-01-01", "2024-12-31").json()
    assert (body["resultsCount"], "next_url" in body) == (5000, True)
    assert client.bars("NVDA", "2000-01-01", "2024-12-31", limit=50_000).json()["resultsCount"] > 6000
    assert client.bars("NVDA", "2000-01-01", "2024-12-31", limit=50_001).status_code == 400


def test_splits_are_ten_unless_asked_newest_first_and_paged(client: Client) -> None:
    body = client.get("/v3/reference/splits").json()
    assert len(body["results"]) == 10
    days = [row["execution_date"] for row in body["results"]]
    assert days == sorted(days, reverse=True)
    assert set(body["results"][0]) == {"execution_date", "id", "split_from", "split_to", "ticker"}
    everything = client.get("/v3/reference/splits", limit=1000).json()["results"]
    found = body["results"]
    while "next_url" in body:
        body = client.session.get(body["next_url"], headers={"Authorization": "Bearer k"}, timeout=10).json()
        found += body["results"]
    assert found == everything
    assert len({row["id"] for row in found}) == len(found) > 20


def test_splits_are_filtered_by_ticker_and_day(client: Client) -> None:
    def days(**query: str | int) -> list[str]:
        rows = client.get("/v3/reference/splits", ticker="NVDA", order="asc", **query).json()["results"]
        return [row["execution_date"] for row in rows]

    real = ["2000-06-27", "2001-09-17", "2006-04-07", "2007-09-11", "2021-07-20", "2024-06-10"]
    assert days() == real
    assert days(**{"execution_date.gte": "2007-09-11"}) == real[3:]
    assert days(**{"execution_date.gt": "2007-09-11"}) == real[4:]
    assert days(**{"execution_date.lte": "2006-04-07"}) == real[:3]
    assert days(**{"execution_date.lt": "2006-04-07"}) == real[:2]
    assert days(execution_date="2021-07-20") == ["2021-07-20"]
    (reverse,) = client.get("/v3/reference/splits", ticker="GE").json()["results"]
    assert (reverse["split_from"], reverse["split_to"]) == (8, 1)
    assert client.get("/v3/reference/splits", ticker="NOSUCH").json()["results"] == []


@pytest.mark.parametrize(
    "path",
    [
        "/v2/aggs/ticker/NVDA/range/1/day/2024-06-07/2024-06-03",
        "/v2/aggs/ticker/NVDA/range/1/day/yesterday/2024-06-03",
        "/v2/aggs/ticker/NVDA/range/1/day/2024-02-30/2024-06-03",
        "/v2/aggs/grouped/locale/us/market/stocks/today",
        "/v2/aggs/ticker/NVDA/range/1/day/2024-06-03/2024-06-07?sort=up",
        "/v2/aggs/ticker/NVDA/range/1/day/2024-06-03/2024-06-07?limit=0",
        "/v2/aggs/ticker/NVDA/range/1/day/2024-06-03/2024-06-07?cursor=%C3%A9",
        "/v3/reference/splits?limit=1001",
        "/v3/reference/splits?page_marker=x",
    ],
)
def test_a_wrong_parameter_is_400_with_the_text_under_error(client: Client, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 400
    assert response.json()["status"] == "ERROR"
    assert response.json()["error"]


def test_epoch_milliseconds_are_days_too(client: Client) -> None:
    body = client.bars("NVDA", "1717992000000", "1718078400000").json()
    assert [in_new_york(row).date().isoformat() for row in body["results"]] == ["2024-06-10", "2024-06-11"]


def test_an_unknown_path_is_404(client: Client) -> None:
    assert client.get("/v2/aggs/ticker/NVDA/range/1/week/2024-06-03/2024-06-07").status_code == 404
    assert client.get("/v1/forecast").json() == {"error": True, "reason": "Not Found"}


def test_today_is_not_available_before_it_is_over_in_new_york() -> None:
    clock = [datetime(2026, 7, 16, 3, 59, tzinfo=timezone.utc)]
    with Sandbox(now=lambda: clock[0]) as sandbox, requests.Session() as session:
        client = Client(sandbox, session)
        for response in (client.grouped("2026-07-15"), client.bars("NVDA", "2026-07-15", "2026-07-15")):
            assert response.status_code == 403
            assert response.json()["status"] == "NOT_AUTHORIZED"
            assert "today's data before end of day" in response.json()["message"]
        assert client.bars("NVDA", "2026-07-13", "2026-07-15").json()["resultsCount"] == 2
        clock[0] = datetime(2026, 7, 16, 4, 0, tzinfo=timezone.utc)
        assert client.grouped("2026-07-15").json()["resultsCount"] > 300
        assert client.bars("NVDA", "2026-07-13", "2026-07-15").json()["resultsCount"] == 3


def test_a_plan_reaches_back_its_years_and_a_range_that_overlaps_gets_the_allowed_part() -> None:
    with Sandbox(history_years=2, now=lambda: NOW) as sandbox, requests.Session() as session:
        client = Client(sandbox, session)
        for response in (client.grouped("2024-07-12"), client.bars("NVDA", "2024-01-02", "2024-07-12")):
            assert response.status_code == 403
            assert response.json()["message"].startswith("Your plan doesn't include this data timeframe")
        body = client.bars("NVDA", "2024-01-02", "2024-07-17").json()
        assert [in_new_york(row).date().isoformat() for row in body["results"]] == [
            "2024-07-15",
            "2024-07-16",
            "2024-07-17",
        ]


def test_the_shapes_are_those_of_the_recorded_bodies(client: Client, shared_data: Path) -> None:
    def recorded(name: str) -> dict[str, Any]:
        body: dict[str, Any] = json.loads((shared_data / "polygon" / name).read_text())
        return body

    aggregates = recorded("recorded_aggs_AAPL_1day_2023-01-01_2023-01-10_on_2024-02-29.json")
    ours = client.bars("AAPL", "2023-01-01", "2023-01-10").json()
    assert list(ours) == [*list(aggregates)[:4], "results", "status", "request_id", "count"]
    assert [list(row) for row in ours["results"]] == [list(row) for row in aggregates["results"]]
    assert [row["t"] for row in ours["results"]] == [row["t"] for row in aggregates["results"]]

    grouped = recorded("vendor_mock_grouped_daily.json")
    ours = client.grouped("2020-10-14").json()
    assert set(ours) == set(grouped)
    assert set(ours["results"][0]) == set(grouped["results"][0])
    assert ours["results"][0]["t"] == grouped["results"][0]["t"]

    splits = recorded("vendor_mock_v3_splits.json")
    ours = client.get("/v3/reference/splits", limit=1000).json()
    assert set(ours) == set(splits)
    assert set(splits["results"][0]) <= set(ours["results"][0])

    errors = json.loads((shared_data / "polygon" / "error_and_empty_bodies.json").read_text())
    empty = next(entry["body"] for entry in errors if entry["http"] == 200)
    assert set(client.bars("NOSUCH", "2023-01-01", "2023-01-10").json()) == set(empty)
