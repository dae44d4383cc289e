"""Replay: files in, the vendors' answers out."""

from __future__ import annotations

import gzip
import logging
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import requests

from stock_weather_pipeline.errors import UsageError
from stock_weather_pipeline.partitions import sessions
from stock_weather_pipeline.sandbox import Sandbox
from stock_weather_pipeline_tests.sandbox.conftest import NOW, Client

NVDA = """timestamp,open,high,low,close,volume
2024-06-10,120.37,123.1,117.01,121.79,308134792
2024-06-07,1197.7000,1216.9171,1180.2200,1208.8800,41238580
"""
MARKET = """Ticker,Date,Open,High,Low,Close,Volume
NVDA,2024-06-07,1,2,0.5,1,5
NVDA,2024-06-06,1240.48,1255.87,1183.2,1209.98,66469619
TRUE,2024-06-07,25.5,26,25,25.75,1000
TRUE,2024-06-19,25.5,26,25,,0
"""
HOURS = """time,weather_code (wmo code),temperature_2m (°C),snow_depth (m)
2015-06-01T00:00,3,20,0
2015-06-01T01:00,,-0.0,0
2015-06-01T02:00,61,NaN,0
"""
BLOCK = """latitude,longitude,elevation,utc_offset_seconds,timezone,timezone_abbreviation
52.52,13.42,38.0,7200,Europe/Berlin,CEST

time,temperature_2m (°C)
2024-07-01T02:00,18.4
2024-07-01T03:00,17.9
"""


def folder(home: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return home


def results(response: requests.Response) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = response.json().get("results", [])
    return found


def test_bars_come_from_files_with_or_without_a_ticker_column(tmp_path: Path) -> None:
    data = folder(tmp_path, {"stocks/nvda_raw_1999_2024.csv": NVDA, "stocks/a_market.csv.gz": MARKET})
    with Sandbox(data, now=lambda: NOW) as sandbox, requests.Session() as session:
        client = Client(sandbox, session)
        response = client.bars("NVDA", "2024-06-01", "2024-06-30", adjusted="false")
        assert response.headers["X-Stock-Weather-Sandbox"] == "replay"
        # The file named after the ticker wins over the market's file, which adds the days it lacks.
        assert [(row["t"], row["c"]) for row in results(response)] == [
            (1717646400000, 1209.98),
            (1717732800000, 1208.88),
            (1717992000000, 121.79),
        ]
        assert '"o":1197.7,"c":1208.88,"h":1216.9171,"l":1180.22,' in response.text
        assert [set(row) for row in results(response)] == [{"v", "o", "c", "h", "l", "t"}] * 3
        assert [row["T"] for row in results(client.grouped("2024-06-07"))] == ["NVDA", "TRUE"]
        # A holiday's row is served as it stands, and what the file leaves out is null.
        assert results(client.grouped("2024-06-19"))[0] | {"t": 0} == {
            "T": "TRUE",
            "v": 0,
            "o": 25.5,
            "c": None,
            "h": 26,
            "l": 25,
            "t": 0,
        }
        assert results(client.bars("AAPL", "2024-06-01", "2024-06-30")) == []
        assert client.hours("2015-06-01", "2015-06-01").json()["reason"] == "No data is available for this location"


def test_nvda_has_its_real_splits_unless_a_file_names_others(tmp_path: Path) -> None:
    data = folder(tmp_path, {"stocks/NVDA.csv": NVDA})
    with Sandbox(data, now=lambda: NOW) as sandbox, requests.Session() as session:
        client = Client(sandbox, session)
        assert len(results(client.get("/v3/reference/splits"))) == 6
        assert results(client.bars("NVDA", "2024-06-07", "2024-06-07"))[0]["c"] == 120.888
    for place in ("stocks/splits.csv", "splits.csv"):
        folder(
            tmp_path, {place: "ticker,execution_date,split_from,split_to\nNVDA,2024-06-10,2,1\nNOSUCH,2024-06-10,1,2\n"}
        )
        with Sandbox(data, now=lambda: NOW) as sandbox, requests.Session() as session:
            client = Client(sandbox, session)
            (split,) = results(client.get("/v3/reference/splits"))
            assert (split["ticker"], split["split_from"], split["split_to"]) == ("NVDA", 2, 1)
            assert results(client.bars("NVDA", "2024-06-07", "2024-06-07"))[0]["c"] == 2417.76


def test_adjusted_series_are_not_served_as_unadjusted_bars(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = folder(tmp_path, {"stocks/nvda_splitadj_2021.csv": NVDA, "stocks/market.csv": MARKET})
    with caplog.at_level(logging.WARNING), Sandbox(data, now=lambda: NOW) as sandbox, requests.Session() as session:
        assert len(results(Client(sandbox, session).bars("NVDA", "2024-06-01", "2024-06-30"))) == 2
    assert "nvda_splitadj_2021.csv is not served: its prices are adjusted" in caplog.text


def test_hours_come_from_files_shifted_to_gmt_and_are_null_outside_them(tmp_path: Path) -> None:
    data = folder(tmp_path, {"weather/new_york_2015.csv.gz": HOURS, "weather/berlin.csv": BLOCK})
    with Sandbox(data, now=lambda: NOW) as sandbox, requests.Session() as session:
        client = Client(sandbox, session)
        response = client.hours("2015-06-01", "2015-06-01", hourly="temperature_2m,weather_code,precipitation")
        hourly = response.json()["hourly"]
        assert '"temperature_2m":[20,-0.0,null,null' in response.text
        assert hourly["weather_code"] == [3, None, 61, *[None] * 21]
        assert hourly["precipitation"] == [None] * 24
        nearby = client.hours("2015-06-01", "2015-06-01", latitude="41.5", longitude="-73.2").json()
        assert nearby["hourly"]["weather_code"] == hourly["weather_code"]
        assert client.hours("2015-06-01", "2015-06-01", latitude="42", longitude="-74").status_code == 400
        berlin = client.hours("2024-07-01", "2024-07-01", latitude="52.5", longitude="13.4").json()["hourly"]
        assert berlin["temperature_2m"][:3] == [18.4, 17.9, None]


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("new_york.csv", "time,temperature_2m (°F)\n2024-01-01T00:00,34.9\n", "not metric (temperature_2m in °F)"),
        ("new_york.csv", "time,wind_speed_10m (m/s)\n2024-01-01T00:00,3\n", "not metric (wind_speed_10m in m/s)"),
        ("new_york.csv", "time,temperature_2m_max (°C)\n2024-01-01,3\n", "not hourly"),
        ("atlantis.csv", HOURS, "its name begins with no known place"),
        ("new_york.csv", "hello\n", "no table that begins with time"),
        ("new_york.csv", "latitude,longitude\n1,2\n\n" + HOURS, "its header block has no"),
        ("new_york.csv", BLOCK.replace("52.52", "52.52,1,2\n52.52"), "more than one location"),
    ],
)
def test_weather_that_cannot_be_served_is_skipped_with_its_reason(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, text: str, reason: str
) -> None:
    data = folder(tmp_path, {f"weather/{name}": text})
    with caplog.at_level(logging.WARNING):
        Sandbox(data)
    assert f"{name} is not served" in caplog.text
    assert reason in caplog.text


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("stocks/x.csv", "date,open,high,low,close\n2024-01-02,1,1,1,1\n", "needs one column volume"),
        ("stocks/x.csv", "open,high,low,close,volume\n1,1,1,1,1\n", "needs one column date"),
        ("stocks/x.csv", "", "needs one column date, open, high, low, close, volume"),
        ("stocks/x.csv", NVDA + "2024-06-06,abc,1,1,1,1\n", "cannot be replayed"),
        ("stocks/x.csv", NVDA + "06.06.2024,1,1,1,1,1\n", "cannot be replayed"),
        ("stocks/x.csv", NVDA + "2024-06-06,1\n", "cannot be replayed"),
        ("stocks/splits.csv", "ticker,execution_date\nNVDA,2024-06-10\n", "each row needs ticker, execution_date"),
        ("weather/new_york.csv", HOURS + "2015-06-01T03:00,x,1,0\n", "the row of '2015-06-01T03:00' is damaged"),
    ],
)
def test_a_damaged_file_is_told_in_a_sentence(tmp_path: Path, name: str, text: str, sentence: str) -> None:
    folder(tmp_path, {"stocks/nvda.csv": NVDA, name: text})
    with pytest.raises(UsageError) as told:
        Sandbox(tmp_path)
    assert Path(name).name in str(told.value)
    assert sentence in str(told.value)


def test_a_damaged_archive_and_a_missing_or_empty_folder_are_told_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a folder"):
        Sandbox(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="holds nothing to replay"):
        Sandbox(tmp_path)
    folder(tmp_path, {"stocks/nvda.csv": NVDA})
    (tmp_path / "stocks" / "msft.csv.gz").write_bytes(b"not gzip")
    with pytest.raises(UsageError, match=r"msft.csv.gz cannot be replayed"):
        Sandbox(tmp_path)


def test_the_recorded_data_is_served_as_it_is(shared_data: Path) -> None:
    with Sandbox(shared_data, now=lambda: NOW) as sandbox, requests.Session() as session:
        client = Client(sandbox, session)
        bars = results(client.bars("NVDA", "1999-11-01", "2017-12-31", adjusted="false", limit=50_000))
        assert len(bars) == len(sessions(date(1999, 11, 1), date(2017, 12, 31)))
        (before,) = results(client.bars("NVDA", "2021-07-19", "2021-07-19", adjusted="false"))
        (after,) = results(client.bars("NVDA", "2021-07-20", "2021-07-20", adjusted="false"))
        assert (before["c"], after["c"]) == (751.19, 186.12)
        assert len(results(client.grouped("2022-06-20"))) == 500
        took = client.bars("AAPL", "2018-01-02", "2023-06-29", adjusted="false").elapsed.total_seconds()
        assert took < 0.5
        hourly = client.hours("2009-06-01", "2009-06-01", hourly="temperature_2m,relative_humidity_2m").json()["hourly"]
        assert hourly["temperature_2m"][:3] == [20.5, 18.2, 16.4]
        assert hourly["relative_humidity_2m"][:3] == [42, 40, 38]
