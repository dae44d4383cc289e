from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from stock_weather_pipeline.cli import main
from stock_weather_pipeline.commands import status as status_command
from stock_weather_pipeline.sandbox import Sandbox
from stock_weather_pipeline.sources import polygon
from stock_weather_pipeline_tests.homes import Home

COMMANDS = sorted(main.commands)
HEAVY = {"dagster", "pandas", "pyarrow", "duckdb", "pyiceberg", "sqlglot", "numpy", "requests", "rich", "pydantic"}


def a_bug(*_: object) -> None:
    raise KeyError("nothing")


@pytest.fixture
def home(tmp_path: Path, vendor: Sandbox) -> Home:
    return Home(tmp_path, vendor.url)


def test_no_help_imports_anything_heavy() -> None:
    code = (
        "import sys; from stock_weather_pipeline.cli import main\n"
        f"for words in [[], *([name] for name in {COMMANDS!r})]:\n"
        "    try: main([*words, '--help'])\n"
        "    except SystemExit as end: assert end.code == 0\n"
        f"print('heavy:', sorted({HEAVY!r} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "heavy: []"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example_of_itself(home: Home, command: str) -> None:
    result = home.invoke(command, "--help")
    assert result.exit_code == 0
    assert f"  stock-weather {command}" in result.stdout.partition("Example")[2]


def test_csv_holds_the_rows_alone_and_the_remark_goes_to_standard_error(finished: Home) -> None:
    sql = "SELECT ticker, trade_date, close, vwap FROM stock_prices ORDER BY trade_date"
    result = finished.invoke("query", "--format", "csv", sql)
    assert result.exit_code == 0
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [row["trade_date"] for row in rows] == [f"2024-06-0{n}" for n in range(3, 8)]
    assert [float(row["close"]) for row in rows] == [row["close"] for row in finished.rows(sql)]
    assert result.stderr.startswith("SIMULATED DATA")


def test_json_is_a_list_of_rows_with_null_where_json_has_no_number(finished: Home) -> None:
    sql = "SELECT trade_date, close / 0e0 AS infinite, CAST(NULL AS DOUBLE) AS missing FROM stock_prices LIMIT 1"
    result = finished.invoke("query", "--format", "json", sql)
    assert json.loads(result.stdout) == [{"trade_date": "2024-06-03", "infinite": None, "missing": None}]
    assert result.stderr.startswith("SIMULATED DATA")


def test_csv_writes_an_array_as_json(finished: Home) -> None:
    result = finished.invoke("query", "--format", "csv", "SELECT array_agg(ticker) AS tickers FROM stock_prices")
    assert list(csv.reader(io.StringIO(result.stdout)))[1] == ['["NVDA", "NVDA", "NVDA", "NVDA", "NVDA"]']


def test_a_table_shows_every_column_and_says_where_it_ends(finished: Home) -> None:
    result = finished.invoke("query", "SELECT location, location AS place, 'a[b]' AS text FROM weather")
    assert [word in result.stdout for word in ("location", "place", "Santa Clara", "a[b]")] == [True] * 4
    assert "The first 200 of 240 rows; --format csv writes all of them." in result.stderr


def test_status_of_a_home_without_data_says_what_to_do_and_makes_nothing(home: Home) -> None:
    result = home.invoke("status")
    assert result.exit_code == 0
    assert "yet: " in result.stdout
    assert not (home.folder / "home").exists()


def test_status_shows_the_table_and_the_day_that_is_missing(finished: Home) -> None:
    result = finished.invoke("status")
    assert result.exit_code == 0
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["stock_prices", "5", "5", "2024-06-07", "0", "14", "0", "1"] in lines
    assert "SIMULATED DATA" in result.stdout
    assert "stock_prices: the newest closed day, " in result.stdout


def test_doctor_names_what_is_there(finished: Home) -> None:
    result = finished.invoke("doctor")
    assert result.exit_code == 0
    assert f"✓ stock prices: {finished.url} answers" in result.stdout
    assert f"stock_prices, stock_splits, weather in {finished.lake_folder}" in result.stdout


def test_doctor_finds_an_unreachable_server_and_a_home_that_is_a_file(home: Home) -> None:
    home.url = "http://127.0.0.1:9"
    (home.folder / "home").write_text("")
    result = home.invoke("doctor")
    assert result.exit_code == 1
    assert "http://127.0.0.1:9 cannot be reached (ConnectionError)" in result.stdout
    assert "is a file, not a folder\n    set STOCK_WEATHER_HOME to a folder that you may write" in result.stdout


def test_a_bug_is_told_in_a_sentence_with_its_traceback_in_a_file(
    home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(status_command, "status", a_bug)
    result = home.invoke("status")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: this is a bug in stock-weather-pipeline, not your mistake (KeyError).")
    assert "Traceback" not in result.stderr
    (report,) = tmp_path.glob("stock-weather-*.txt")
    assert str(report) in result.stderr
    assert "KeyError: 'nothing'" in report.read_text()
    assert isinstance(home.invoke("--debug", "status").exception, KeyError)


def test_a_long_backfill_shows_its_plan_before_it_starts(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    # A server that is not there: the plan must stand before the first call. One call a minute, three tickers.
    home.url = "http://127.0.0.1:9"
    home.extra["STOCK_WEATHER_POLYGON_CALLS_PER_MINUTE"] = "1"
    with monkeypatch.context() as patched:
        patched.setattr(polygon.StockPricesSource, "fetch", lambda *_args, **_kwargs: iter(()))
        patched.setattr("stock_weather_pipeline.sources.http.TRIES", 1)
        result = home.invoke(
            "run", "--only", "stocks", "--start", "2024-06-03", "--end", "2024-06-07", "--tickers", "A,B,C"
        )
    assert result.exit_code == 1
    plan = next(line for line in result.stdout.splitlines() if "at this quota" in line)
    assert "about 3 minutes at this quota. Ctrl-C stops; what came until then is kept." in plan
    assert plan.startswith("stock_prices: ")


def test_a_rollback_is_reported_by_run_and_status_until_its_command_publishes_again(home: Home) -> None:
    first = ("run", "--only", "weather", "--start", "2024-06-03", "--end", "2024-06-03")
    assert home.invoke(*first).exit_code == 0
    only_one = home.invoke("rollback", "weather")
    assert only_one.exit_code == 1
    assert "has only one publish: there is none before it to go back to." in only_one.stderr
    both = ("run", "--only", "weather", "--start", "2024-06-03", "--end", "2024-06-04")
    assert home.invoke(*both).exit_code == 0
    whole = home.tables()

    unknown = home.invoke("rollback", "wether")
    assert unknown.exit_code == 2
    assert "There is no prod table 'wether': there are locations, weather." in unknown.stderr
    result = home.invoke("rollback", "weather")
    assert result.exit_code == 0
    assert "(2024-06-04..2024-06-04, run " in result.stdout
    command = result.stdout.strip().splitlines()[-1].partition("To publish again: ")[2]
    assert command.endswith("run --start 2024-06-04 --end 2024-06-04 --only weather --again")
    assert len(home.tables()["weather"]) == 48

    for words in (both, ("status",)):
        told = home.invoke(*words)
        assert told.exit_code == 0
        assert "weather: rolled back, and not in the table: 2024-06-04. To publish again: " in told.stdout
        assert command in told.stdout
        assert "Nothing to do" not in told.stdout
    assert len(home.tables()["weather"]) == 48

    assert home.invoke(*command.split()[1:]).exit_code == 0
    assert home.tables() == whole
    assert "Nothing to do" in home.invoke(*both).stdout
