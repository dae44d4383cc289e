"""The main job: one run makes every layer of both datasets, and a second one changes nothing."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from stock_weather_pipeline.sandbox import Sandbox
from stock_weather_pipeline_tests.homes import Home

WEEK = ("run", "--start", "2024-06-03", "--end", "2024-06-07")
SESSIONS = {"2024-06-03", "2024-06-04", "2024-06-05", "2024-06-06", "2024-06-07"}


def test_one_run_materializes_every_layer_of_both_datasets(finished: Home) -> None:
    for layer in ("raw", "catalog", "parquet", "prod"):
        assert finished.materialized(layer, "stock_prices") == SESSIONS
        assert finished.materialized(layer, "weather") == SESSIONS
    counts = finished.rows(
        "SELECT (SELECT count(*) FROM stock_weather_raw.weather) AS raw, "
        "(SELECT count(*) FROM stock_weather_parquet.weather) AS parquet, (SELECT count(*) FROM weather) AS prod, "
        "(SELECT count(*) FROM macd) AS macd, (SELECT count(*) FROM stock_splits) AS splits"
    )
    assert counts == [{"raw": 240, "parquet": 240, "prod": 240, "macd": 5, "splits": 6}]


def test_prod_holds_what_the_vendor_sent_and_the_view_adjusts_it(finished: Home) -> None:
    (raw,) = finished.rows(
        "SELECT CAST(r.close AS DOUBLE) AS sent, p.close AS held, a.close AS adjusted, a.split_factor FROM "
        "stock_weather_raw.stock_prices r JOIN stock_prices p ON CAST(r.trade_date AS DATE) = p.trade_date "
        "JOIN stock_prices_adjusted a ON a.trade_date = p.trade_date WHERE p.trade_date = DATE '2024-06-07'"
    )
    assert raw["held"] == raw["sent"]
    # NVDA split 10 for 1 on 2024-06-10.
    assert abs(raw["adjusted"] - raw["held"] / 10) < 1e-9


def test_the_run_ends_with_a_table_of_everything_in_80_columns(finished: Home) -> None:
    lines = finished.first_output.splitlines()
    table = lines[next(n for n, line in enumerate(lines) if "SIMULATED DATA" in line) :]
    words = [line.split() for line in table]
    assert ["weather", "5", "240", "2024-06-07", "0", "13", "0", "1"] in words
    assert ["stock_prices", "5", "5", "2024-06-07", "0", "14", "0", "1"] in words
    assert ["dataset", "days", "rows", "newest", "day", "rows", "passed", "failed", "warned"] in words
    assert any("quarantined" in line and "checks" in line for line in table)
    assert "…" not in finished.first_output
    assert all(len(line) <= 80 for line in table[: table.index(next(line for line in table if "views" in line))])
    assert f"Tables are in {finished.lake_folder}" in lines
    assert any("query \"SELECT * FROM macd WHERE ticker = 'NVDA'" in line for line in lines)


def test_a_second_run_changes_nothing_and_says_so(finished: Home, vendor: Sandbox) -> None:
    def state() -> dict[str, object]:
        files = {
            str(path): (path.stat().st_mtime_ns, path.read_bytes())
            for path in finished.lake_folder.rglob("*")
            if path.is_file()
        }
        with finished.opened() as (_, lake, instance):
            snapshots = {
                name: [publish.snapshot_id for publish in lake.tables.history(name)] for name in lake.tables.names()
            }
            runs = instance.get_runs_count()
        with sqlite3.connect(finished.data / "dagster/history/runs/index.db") as index:
            events = index.execute("SELECT count(*) FROM event_logs").fetchone()
        index.close()
        return {"files": files, "snapshots": snapshots, "runs": runs, "events": events, "calls": len(vendor.calls)}

    # In New York it may have become another day since the home was made, and splits are fetched daily.
    assert finished.invoke(*WEEK).exit_code == 0
    before = state()
    result = finished.invoke(*WEEK)
    assert result.exit_code == 0, result.output
    assert "Nothing to do: every layer of every day is there." in result.stdout
    assert state() == before


def test_a_ticker_that_never_split_is_published_like_any_other(tmp_path: Path, vendor: Sandbox) -> None:
    home = Home(tmp_path, vendor.url)
    words = ("run", "--only", "stocks", "--start", "2024-06-05", "--end", "2024-06-06", "--tickers", "ZAAA")

    result = home.invoke(*words)

    assert result.exit_code == 0, result.output
    assert home.rows("SELECT count(*) AS n FROM stock_splits") == [{"n": 0}]
    assert home.rows("SELECT count(*) AS n FROM stock_prices_adjusted WHERE split_factor = 1") == [{"n": 2}]
    assert "Nothing to do" in home.invoke(*words).stdout


def test_a_ticker_added_later_fetches_only_its_own_history_and_keeps_the_others(
    tmp_path: Path, faulty: Sandbox
) -> None:
    home = Home(tmp_path, faulty.url)
    days = ("run", "--only", "stocks", "--start", "2024-06-05", "--end", "2024-06-06")
    assert home.invoke(*days, "--tickers", "NVDA").exit_code == 0
    nvda = home.rows("SELECT * FROM stock_prices")
    calls = len(faulty.calls)

    result = home.invoke(*days, "--tickers", "NVDA,AMD")

    assert result.exit_code == 0, result.output
    assert "stock_prices of AMD 2024-06-05..2024-06-06, every layer" in result.stdout
    assert [call.path for call in faulty.calls[calls:]] == ["/v2/aggs/ticker/AMD/range/1/day/2024-06-05/2024-06-06"]
    rows = home.rows("SELECT * FROM stock_prices ORDER BY ticker, trade_date")
    assert [row["ticker"] for row in rows] == ["AMD", "AMD", "NVDA", "NVDA"]
    assert sorted(rows[2:], key=str) == sorted(nvda, key=str)
