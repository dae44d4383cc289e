"""The benchmarks run, at a size that takes seconds. Nothing here asserts a time."""

from __future__ import annotations

import math
import subprocess
import sys
from datetime import date
from pathlib import Path

import pyarrow.compute as pc
import pytest

from benchmarks import (
    backfill,
    data,
    empty,
    indicators,
    market,
    measuring,
    one_day,
    pipelines,
    sp500,
    start_up,
    vendor_calls,
)
from benchmarks.measuring import Result, Sample, Subject, alternate, child, report, verdict
from stock_weather_pipeline.automation.instance import shared_file
from stock_weather_pipeline.automation.jobs import JOB_ASSETS
from stock_weather_pipeline.errors import UsageError

# BackfillPolicy is marked beta; the version is pinned.
pytestmark = pytest.mark.filterwarnings("ignore:Parameter `backfill_policy`")

for _module in ("polars", "talib", "dlt"):
    pytest.importorskip(_module, reason=f"{_module} is not installed: pip install -r requirements-benchmarks.txt")


def test_subjects_are_measured_in_turn_and_compared_by_their_medians() -> None:
    order: list[str] = []

    def subject(name: str, times: list[float]) -> Subject:
        left = iter(times)

        def measure() -> Sample:
            order.append(name)
            return Sample(next(left), 2_000_000, {"reading": 0.5})

        return Subject(name, measure)

    results = alternate([subject("ours", [4.0, 6.0, 90.0]), subject("limit", [2.0, 2.0, 2.0])], 3)
    assert order == ["ours", "limit"] * 3
    text = report("A comparison", results, "limit")
    (line,) = [line for line in text.splitlines() if line.startswith("ours")]
    assert line.split()[:4] == ["ours", "6.000", "3.00", "2"]
    assert "reading" in text
    assert "pyarrow" in text
    assert verdict("ours", 3.0, 2.5).endswith("MISSED")
    assert verdict("ours", 2.5, 2.5).endswith("met")


def test_a_child_tells_its_memory_and_its_parts_and_its_failure_is_an_error() -> None:
    block = 64 * 1024**2
    code = f"import json; kept = b'x' * {block}; print('words'); print(json.dumps({{'part': 1.5}}))"
    sample = child([sys.executable, "-c", code])
    assert sample.parts == {"part": 1.5}
    assert sample.peak_bytes is not None
    assert sample.peak_bytes > block
    with pytest.raises(RuntimeError, match="no such luck"):
        child([sys.executable, "-c", "raise SystemExit('no such luck')"])


def test_the_memory_of_a_small_child_is_its_own_and_not_that_of_the_process_that_started_it() -> None:
    measure = "from benchmarks.measuring import child; print(child([sys.executable, '-c', 'pass']).peak_bytes)"
    big = f"import sys; kept = b'x' * (400 * 1024**2); {measure}"
    told = subprocess.run([sys.executable, "-c", big], capture_output=True, text=True, check=True).stdout
    assert 1024**2 < int(told) < 100 * 1024**2


def test_the_simulated_market_has_a_possible_bar_for_each_ticker_and_day_and_is_always_the_same(tmp_path: Path) -> None:
    days = data.sessions(3)
    first = [*data.chunks(data.market_file(tmp_path / "a", 7, days))]
    again = [*data.chunks(data.market_file(tmp_path / "b", 7, days))]
    assert first == again
    (rows,) = first
    assert rows.num_rows == 21
    low, high, opened, close = (pc.cast(rows[name], "double") for name in ("low", "high", "open", "close"))
    for price in (opened, close):
        assert pc.all(pc.and_(pc.less_equal(low, price), pc.less_equal(price, high))).as_py()


def test_all_three_ways_publish_every_row(tmp_path: Path) -> None:
    source = data.market_file(tmp_path, 4, data.sessions(3))
    assert list(pipelines.ours(tmp_path / "ours", source)) == ["raw", "catalog", "parquet", "audit", "prod", "views"]
    assert pipelines.open_lake_in(tmp_path / "ours").rows("SELECT count(*) AS n FROM stock_prices") == [{"n": 12}]
    assert list(pipelines.bare(tmp_path / "bare", source)) == ["raw", "parquet", "prod", "views"]
    files = sorted((tmp_path / "bare" / "prod").rglob("*.parquet"))
    assert sum(pq_rows(path) for path in files) == 12
    sample = pipelines.measure("dlt", tmp_path / "dlt", source)
    assert list(sample.parts) == ["raw", "prod"]
    assert sum(pq_rows(path) for path in (tmp_path / "dlt" / "prod").rglob("stock_prices/data/**/*.parquet")) == 12


def test_recorded_bars_are_those_of_the_files_on_the_chosen_sessions(tmp_path: Path) -> None:
    (tmp_path / "stocks").mkdir()
    lines = ["ticker,date,open,high,low,close,volume"]
    lines += [f"{ticker},2024-06-0{day},10.5,12,9,11,1500" for day in range(3, 10) for ticker in ("NVDA", "AMD")]
    (tmp_path / "stocks" / "index.csv").write_text("\n".join(lines))
    path = data.recorded_file(tmp_path / "made", tmp_path, data.sessions(2, date(2024, 6, 9)))
    (rows,) = data.chunks(path)
    assert data.row_count(path) == 4
    assert [(row["trade_date"], row["ticker"], row["open"], row["vwap"]) for row in rows.to_pylist()] == [
        ("2024-06-06", "AMD", "10.5", None),
        ("2024-06-06", "NVDA", "10.5", None),
        ("2024-06-07", "AMD", "10.5", None),
        ("2024-06-07", "NVDA", "10.5", None),
    ]
    assert "4 rows, recorded, 2024-06-06 to 2024-06-07" in sp500.main(
        ["--data", str(tmp_path), "--last", "2024-06-09", "--sessions", "2", "--rounds", "1"]
    )
    with pytest.raises(UsageError, match="no bar from 2025"):
        data.recorded_file(tmp_path / "made", tmp_path, data.sessions(2))


def pq_rows(path: Path) -> int:
    import pyarrow.parquet as pq

    return int(pq.read_metadata(path).num_rows)


def test_polars_and_talib_compute_what_the_views_say(tmp_path: Path) -> None:
    import polars as pl

    source = data.market_file(tmp_path, 2, data.sessions(60))
    pipelines.ours(tmp_path / "ours", source)
    lake = pipelines.open_lake_in(tmp_path / "ours")
    assert indicators.of_one_ticker(lake, "T00001") == [60] * len(indicators.INDICATORS)
    prices = pl.DataFrame(pl.from_arrow(indicators.prices_in_memory(lake)))
    computed = indicators.with_polars(prices).filter(pl.col("ticker") == "T00001")
    for view, columns in {
        "macd": ("macd", "signal"),
        "moving_averages": ("sma_7", "sma_30"),
        "bollinger_bands": ("upper_band",),
        "volatility": ("volatility_20", "range_pct"),
        "daily_change": ("change_pct",),
    }.items():
        (row,) = lake.rows(f"SELECT * FROM {view} WHERE ticker = 'T00001' ORDER BY trade_date DESC LIMIT 1")
        for column in columns:
            assert math.isclose(computed[column][-1], row[column], rel_tol=1e-9), column
    close = prices.filter(pl.col("ticker") == "T00001")["close"].to_numpy()
    (average,) = lake.rows(
        "SELECT sma_30 FROM moving_averages WHERE ticker = 'T00001' ORDER BY trade_date DESC LIMIT 1"
    )
    assert math.isclose(indicators.with_talib(close)[2][-1], average["sma_30"], rel_tol=1e-9)


def test_growth_with_rows_is_an_exponent() -> None:
    quick, slow = (Result("ours", [Sample(seconds)]) for seconds in (2.0, 8.0))
    assert market.exponent(1000, quick, 2000, slow) == pytest.approx(2.0)


def test_only_the_event_log_differs_from_stock_dagster() -> None:
    ours = shared_file("dagster.yaml").read_text()
    stock = backfill.without_event_log(ours)
    removed = [line for line in ours.splitlines() if line not in stock.splitlines()]
    assert removed[0] == "event_log_storage:"
    assert all(line.startswith(" ") for line in removed[1:])
    assert "run_monitoring:" in stock


@pytest.mark.parametrize("storage", ["batched", "stock"])
def test_the_empty_run_has_as_many_assets_as_a_night(tmp_path: Path, storage: str) -> None:
    import dagster as dg

    folder = tmp_path / "instance"
    assert empty.run(storage, folder, date(2024, 6, 3), date(2024, 6, 4)) > 0
    with dg.DagsterInstance.local_temp(str(folder), empty.instance_config(storage, folder)) as instance:
        assert instance.get_runs_count() == 3
        assert len(instance.get_asset_keys()) == len({key for name in empty.JOBS for key in JOB_ASSETS[name]})


def test_vendor_calls_are_counted_by_the_server() -> None:
    days = data.sessions(5)
    assert vendor_calls.calls("NVDA", days) == 1
    assert vendor_calls.calls("NVDA,AMD,AAPL", days[-1:]) == 1
    assert "daily run, whole market" in vendor_calls.main(
        ["--tickers", "2", "--sessions", "3", "--market-sessions", "1"]
    )


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("main", "words", "expected"),
    [
        (sp500.main, ["--tickers", "2", "--sessions", "3", "--rounds", "1"], "ours without views / dlt"),
        (market.main, ["--tickers", "2", "--years", "1,2", "--sessions-per-year", "2"], "exponent"),
        (indicators.main, ["--tickers", "2", "--sessions", "3", "--rounds", "1"], "lake / polars"),
        (backfill.main, ["--first", "2025-12-30", "--last", "2025-12-31", "--rounds", "1"], "stock / batched"),
        (one_day.main, ["--history", "1", "--rounds", "1"], "ours / empty"),
        (start_up.main, ["--rounds", "1"], "status / import dagster"),
    ],
    ids=["sp500", "market", "indicators", "backfill", "one_day", "start_up"],
)
def test_a_script_runs_at_a_tiny_size_and_prints_its_comparison(main: object, words: list[str], expected: str) -> None:
    assert callable(main)
    text = main(words)
    assert expected in text
    assert measuring.VERSIONED[0] in text
