"""The command line: help, exit codes, what goes to which stream, and what `run`, `status` and `rollback` tell."""

from __future__ import annotations

import csv
import io
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from stock_weather_pipeline.cli import main
from stock_weather_pipeline.commands import dev
from stock_weather_pipeline.lake.local_objects import LocalObjects
from stock_weather_pipeline.sandbox import Sandbox
from stock_weather_pipeline_tests.homes import Home

COMMANDS = ("run", "query", "status", "doctor", "sandbox", "rollback", "dev")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_examples(command: str) -> None:
    result = CliRunner().invoke(main, [command, "--help"])
    assert result.exit_code == 0
    assert f"  stock-weather {command}" in result.stdout.partition("Example")[2]


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    # A process of its own: here everything is imported already.
    program = (
        "import sys\n"
        "from stock_weather_pipeline.cli import main\n"
        "main([*sys.argv[1:], '--help'], standalone_mode=False)\n"
        "heavy = {'dagster', 'pandas', 'pyarrow', 'duckdb', 'pyiceberg', 'requests', 'sqlglot', 'rich'}\n"
        "print(sorted(heavy & sys.modules.keys()), file=sys.stderr)\n"
    )
    for words in ([], ["run"]):
        ended = subprocess.run(
            [sys.executable, "-c", program, *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert "Examples:" in ended.stdout or "stock-weather run" in ended.stdout
        assert ended.stderr == "[]\n"


@pytest.mark.parametrize("words", [("fly",), ("run", "--fast"), ("query",), ("query", "--format", "xml", "SELECT 1")])
def test_wrong_words_are_wrong_usage(words: tuple[str, ...]) -> None:
    result = CliRunner().invoke(main, words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Error: " in result.stderr


def test_csv_and_json_go_to_standard_output_alone(finished: Home) -> None:
    sql = "SELECT ticker, trade_date, close FROM stock_prices ORDER BY trade_date LIMIT 2"
    (first, second) = finished.rows(sql)

    written = finished.invoke("query", "--format", "csv", sql)
    assert written.exit_code == 0
    rows = list(csv.DictReader(io.StringIO(written.stdout)))
    assert [float(row["close"]) for row in rows] == [first["close"], second["close"]]
    assert rows[0]["trade_date"] == "2024-06-03"

    told = finished.invoke("query", "--format", "json", sql)
    assert json.loads(told.stdout)[1] == {"ticker": "NVDA", "trade_date": "2024-06-04", "close": second["close"]}
    assert told.stderr == written.stderr
    assert told.stderr.startswith("SIMULATED DATA")
    assert len(told.stderr.splitlines()) == 1


def test_a_long_answer_is_shortened_in_the_terminal_and_the_remark_is_no_data(finished: Home) -> None:
    result = finished.invoke("query", "SELECT location, observed_at FROM weather")
    assert "The first 200 of 240 rows; --format csv writes all of them." in result.stderr
    assert "The first 200" not in result.stdout


def test_status_fits_in_80_columns_and_names_what_is_missing(finished: Home) -> None:
    result = finished.invoke("status")
    assert result.exit_code == 0
    words = [line.split() for line in result.stdout.splitlines()]
    assert ["weather", "5", "240", "2024-06-07", "0", "13", "0", "1"] in words
    assert "…" not in result.stdout
    assert "SIMULATED DATA" in result.stdout
    assert "stock_prices: the newest closed day, " in result.stdout


def test_status_and_doctor_look_at_an_empty_home_and_make_nothing(tmp_path: Path, vendor: Sandbox) -> None:
    home = Home(tmp_path, vendor.url)
    result = home.invoke("status")
    assert result.exit_code == 0
    assert f"Nothing is in {tmp_path / 'home' / 'local'} yet: " in result.stdout
    examined = home.invoke("doctor")
    assert examined.exit_code == 0
    assert f"stock prices: {vendor.url} answers" in examined.stdout
    assert "any-key" not in examined.stdout
    assert list(tmp_path.iterdir()) == []


def test_doctor_fails_where_nothing_can_work(tmp_path: Path) -> None:
    examined = Home(tmp_path, "http://127.0.0.1:1", key="").invoke("doctor")
    assert examined.exit_code == 1
    assert "http://127.0.0.1:1 cannot be reached (ConnectionError)" in examined.stdout
    assert "set POLYGON_API_KEY (or MASSIVE_API_KEY)" in examined.stdout


@pytest.fixture(scope="module")
def weather(tmp_path_factory: pytest.TempPathFactory, faulty_vendor: Sandbox) -> Home:
    """Two days of New York's weather, published in two steps. Tests leave it as they found it."""
    home = Home(tmp_path_factory.mktemp("weather"), faulty_vendor.url, extra={"STOCK_WEATHER_LOCATIONS": "New York"})
    for day in ("2024-06-03", "2024-06-04"):
        assert home.invoke("run", "--only", "weather", "--start", day, "--end", day).exit_code == 0
    return home


def test_a_rollback_is_undone_by_the_command_it_prints(weather: Home) -> None:
    before = weather.tables()

    result = weather.invoke("rollback", "weather")

    assert result.exit_code == 0, result.output
    assert "weather is back at the publish of " in result.stdout
    assert weather.rows("SELECT count(*) AS n FROM weather") == [{"n": 24}]
    assert "weather: rolled back, and not in the table: 2024-06-04." in weather.invoke("status").stdout
    plain = weather.invoke("run", "--only", "weather", "--start", "2024-06-03", "--end", "2024-06-04")
    assert "Nothing to do" not in plain.stdout
    assert weather.rows("SELECT count(*) AS n FROM weather") == [{"n": 24}]

    (line,) = [line for line in result.stdout.splitlines() if line.startswith("To publish again: ")]
    words = shlex.split(line.removeprefix("To publish again: "))[1:]
    assert words == ["run", "--start", "2024-06-04", "--end", "2024-06-04", "--only", "weather", "--again"]
    assert weather.invoke(*words).exit_code == 0
    assert weather.tables() == before


def test_a_rollback_of_an_unknown_table_names_the_known_ones(weather: Home) -> None:
    result = weather.invoke("rollback", "audits")
    assert result.exit_code == 2
    assert result.stderr == "Error: There is no prod table 'audits': there are locations, weather.\n"


def test_a_day_that_shrinks_is_published_only_with_force(tmp_path: Path, faulty: Sandbox) -> None:
    home = Home(tmp_path, faulty.url, extra={"STOCK_WEATHER_TICKERS": "NVDA,AMD"})
    words = ("run", "--only", "stocks", "--start", "2024-06-05", "--end", "2024-06-06")
    assert home.invoke(*words).exit_code == 0
    # AMD has no bar any more on one of the days.
    faulty.faults.add("/v2/aggs/ticker/AMD", "missing_days", days=["2024-06-05"])

    refused = home.invoke(*words, "--again")

    assert refused.exit_code == 1
    assert "2024-06-05: the day would shrink from 2 to 1 rows, below 80%; publish with force" in refused.stdout
    assert home.rows("SELECT count(*) AS n FROM stock_prices") == [{"n": 4}]
    home.invoke(*words, "--again", "--force")
    assert home.rows("SELECT count(*) AS n FROM stock_prices") == [{"n": 3}]


def test_the_plan_of_a_long_backfill_is_shown_before_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vendor: Sandbox
) -> None:
    from stock_weather_pipeline.automation.running import Runner

    started: list[Any] = []
    monkeypatch.setattr(Runner, "_run", lambda *arguments: started.append(arguments))
    home = Home(
        tmp_path,
        vendor.url,
        extra={"STOCK_WEATHER_TICKERS": "*", "STOCK_WEATHER_POLYGON_CALLS_PER_MINUTE": "5"},
    )
    result = home.invoke("run", "--only", "stocks", "--start", "2024-06-03", "--end", "2024-06-28")
    assert "about 3 minutes at this quota. Ctrl-C stops; what came until then is kept." in result.stdout
    assert "19 " in next(line for line in result.stdout.splitlines() if "at this quota" in line)
    assert started


def test_a_bug_is_one_sentence_and_a_traceback_only_where_it_is_asked_for(
    finished: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_objects: object, _key: str) -> bool:
        raise RuntimeError("a mistake in the program")

    monkeypatch.setattr(LocalObjects, "exists", broken)
    result = finished.invoke("query", "SELECT 1 AS one")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: this is a bug in stock-weather-pipeline, not your mistake (RuntimeError).")
    assert "Traceback" not in result.output
    report = Path(result.stderr.partition("report it with ")[2].partition(", which")[0])
    assert "a mistake in the program" in report.read_text()
    report.unlink()
    assert isinstance(finished.invoke("--debug", "query", "SELECT 1 AS one").exception, RuntimeError)
    asked = Home(finished.folder, finished.url, extra={"STOCK_WEATHER_DEBUG": "1"})
    assert isinstance(asked.invoke("query", "SELECT 1 AS one").exception, RuntimeError)


def test_dev_starts_dagster_on_this_machine_only_and_without_its_warnings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vendor: Sandbox
) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda _program, words: started.append(words))
    monkeypatch.setattr(dev, "shared_file", lambda name: Path(name))
    home = Home(tmp_path, vendor.url)
    assert home.invoke("dev", "--port", "3999").exit_code == 0
    arguments = ["-W", "ignore", "-m", "dagster", "dev", "-w", "workspace.yaml", "-h", "127.0.0.1", "-p", "3999"]
    assert started == [[sys.executable, *arguments]]
