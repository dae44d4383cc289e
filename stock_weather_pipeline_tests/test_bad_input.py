"""What a user or a vendor can do wrong: one clear sentence, the right exit code, nothing lost or half-published."""

from __future__ import annotations

import errno
import os
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from stock_weather_pipeline.partitions import sessions
from stock_weather_pipeline.sandbox import Sandbox
from stock_weather_pipeline.sources import http
from stock_weather_pipeline_tests.homes import Home

STOCKS = ("run", "--only", "stocks", "--start", "2024-06-03", "--end", "2024-06-05")
WEATHER = ("run", "--only", "weather", "--start", "2024-06-03", "--end", "2024-06-05")
THREE_DAYS = {"2024-06-03", "2024-06-04", "2024-06-05"}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_BACKOFF_S", 0.001)


@pytest.fixture
def home(tmp_path: Path, faulty: Sandbox) -> Home:
    return Home(tmp_path, faulty.url)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory, vendor: Sandbox) -> Home:
    """Three days of weather; what is done wrong on it must leave it as it was."""
    home = Home(tmp_path_factory.mktemp("kept"), vendor.url)
    assert home.invoke(*WEATHER).exit_code == 0
    return home


# --- wrong words: refused before anything starts ---


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("run", "--tickers", "A/B"), "'A/B' is not a ticker"),
        (("run", "--tickers", ".."), "'..' is not a ticker"),
        (("run", "--tickers", "NVDA'"), '"NVDA\'" is not a ticker'),
        (("run", "--tickers", ","), "name at least one ticker"),
        (("run", "--end", "2999-01-04"), "2999-01-04 is not over yet in New York: the newest day"),
        (("run", "--start", "2024-06-05", "--end", "2024-06-03"), "--start must not be after --end"),
        (("run", "--end", "2020-06-05"), "2020-06-05 is before the first partition 2024-01-01"),
        (
            ("run", "--start", "2024-07-04", "--end", "2024-07-04"),
            "the sessions around it are 2024-07-03 and 2024-07-05",
        ),
        (("run", "--start", "yesterday"), "'yesterday' is not a day; write it as 2024-06-07"),
        (("run", "--only", "bonds"), "'bonds' is not one of 'stocks', 'weather'"),
        (("rollback", "stock_prise"), "There is no prod table 'stock_prise': there are none yet."),
        (("query",), "Missing argument 'SQL'"),
        (("sandbox", "--data", "no-such-folder"), "'no-such-folder' does not exist"),
        (("walk",), "No such command 'walk'"),
    ],
)
def test_wrong_usage_is_one_sentence_and_exit_code_2_and_leaves_nothing_behind(
    home: Home, faulty: Sandbox, words: tuple[str, ...], sentence: str
) -> None:
    calls = len(faulty.calls)
    result = home.invoke(*words)
    assert result.exit_code == 2
    assert sentence in " ".join(result.stderr.split())
    assert "Traceback" not in result.output
    assert len(faulty.calls) == calls
    assert not (home.lake_folder / "raw").exists()


def test_a_setting_that_cannot_work_is_named_with_its_value(home: Home) -> None:
    home.extra["STOCK_WEATHER_POLYGON_CALLS_PER_MINUTE"] = "many"
    result = home.invoke("run")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("Error: STOCK_WEATHER_POLYGON_CALLS_PER_MINUTE='many' cannot be used: ")


# --- the vendor says no ---


def failing(home: Home, *words: str) -> str:
    """What a failed run says, with the folded lines of the terminal joined."""
    result = home.invoke(*words)
    assert result.exit_code == 1, result.output
    assert "Traceback" not in result.output
    assert "\nfailed raw/" in result.stdout
    return result.stdout


@pytest.mark.parametrize(
    ("fault", "options", "sentence"),
    [
        ("401", {}, "(HTTP 401: Unknown API Key): it is wrong or expired, set it to the key of your account."),
        ("403", {"meaning": "timeframe"}, "does not reach back this far"),
        ("403", {"meaning": "entitlement"}, "upgrade the plan, or ask for something it includes"),
        ("503", {}, "gave no usable answer in 5 tries, last: HTTP 503; check the network"),
        ("429", {"retry_after": 400}, "asked to wait 400 s"),
    ],
)
def test_a_vendor_that_refuses_is_quoted_with_what_to_do_and_nothing_is_published(
    kept: Home, faulty: Sandbox, fault: str, options: dict[str, Any], sentence: str
) -> None:
    # Days beside those that are there, on the same tables: a refusal must not touch what was published.
    before = kept.tables()
    faulty.faults.add("/v2/reference", fault, **options)
    faulty.faults.add("/v2/aggs", fault, **options)
    refused = Home(kept.folder, faulty.url, key="secret-key-of-mine")
    output = failing(refused, *STOCKS)
    assert "failed raw/stock_prices: Not fetched: 2024-06-03, 2024-06-04, 2024-06-05." in output
    assert sentence in output
    assert "secret-key-of-mine" not in output
    after = kept.tables()
    for name in ("weather", "weather_daily", "locations"):
        assert after[name] == before[name]
    assert kept.materialized("prod", "stock_prices") == set()


def test_a_server_without_a_key_says_that_the_key_is_not_set(home: Home) -> None:
    home.key = ""
    output = failing(home, *STOCKS)
    assert "wants another POLYGON_API_KEY (HTTP 401: API Key was not provided): it is not set." in output
    doctor = home.invoke("doctor")
    assert doctor.exit_code == 1
    assert "set POLYGON_API_KEY (or MASSIVE_API_KEY)" in doctor.stdout


def test_a_vendor_that_is_down_is_named_with_its_setting_and_heals_by_running_again(home: Home) -> None:
    up, home.url = home.url, "http://127.0.0.1:9"
    output = failing(home, *WEATHER)
    assert (
        "no connection ([Errno 111] Connection refused); check the network and STOCK_WEATHER_OPEN_METEO_URL" in output
    )
    assert home.materialized("raw", "weather") == set()
    home.url = up
    assert home.invoke(*WEATHER).exit_code == 0
    assert home.materialized("prod", "weather") == THREE_DAYS


def test_a_spent_quota_that_comes_back_soon_is_waited_for(home: Home, faulty: Sandbox) -> None:
    faulty.faults.add("/v1/archive", "429", times=1, retry_after=0)
    result = home.invoke(*WEATHER)
    assert result.exit_code == 0
    assert home.materialized("prod", "weather") == THREE_DAYS


def test_an_unknown_ticker_is_named_and_the_known_one_is_published(home: Home) -> None:
    result = home.invoke(*STOCKS, "--tickers", "NVDA,QQQQZ")
    assert result.exit_code == 1
    assert "2024-06-03: expected rows for NVDA, QQQQZ, found none for QQQQZ" in result.stdout
    assert home.rows("SELECT ticker, count(*) AS row_count FROM stock_prices GROUP BY ticker") == [
        {"ticker": "NVDA", "row_count": 3}
    ]


# --- the disk ---


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (errno.ENOSPC, "the disk is full; free space or set STOCK_WEATHER_HOME to another disk, then run again."),
        (errno.EROFS, "the file system is read-only; set STOCK_WEATHER_HOME to a folder that can be written."),
    ],
)
@pytest.mark.parametrize("layer", ["raw", "parquet"])
def test_a_disk_that_cannot_be_written_fails_the_layer_with_a_sentence_and_heals(
    home: Home, monkeypatch: pytest.MonkeyPatch, layer: str, number: int, sentence: str
) -> None:
    write = Path.write_bytes

    def refuse(path: Path, data: Any) -> int:
        if f"/lake/{layer}/" in str(path):
            raise OSError(number, os.strerror(number))
        return write(path, data)

    with monkeypatch.context() as full:
        full.setattr(Path, "write_bytes", refuse)
        result = home.invoke(*WEATHER)
    assert result.exit_code == 1
    assert f"failed {layer}/weather: Cannot write {home.lake_folder}/{layer}/weather/" in result.stdout
    assert sentence in result.stdout
    assert home.materialized("prod", "weather") == set()
    assert not [path for path in home.lake_folder.rglob("*") if path.name.endswith(".partial")]
    if number == errno.ENOSPC:
        assert home.invoke(*WEATHER).exit_code == 0
        assert home.materialized("prod", "weather") == THREE_DAYS


@pytest.mark.parametrize("words", [WEATHER, ("query", "SELECT * FROM macd")])
def test_a_file_where_the_home_should_be_is_told_before_anything_starts(home: Home, words: tuple[str, ...]) -> None:
    (home.folder / "home").write_text("mine")
    result = home.invoke(*words)
    assert result.exit_code == 1
    assert "a file is where a folder belongs; move it away, or set STOCK_WEATHER_HOME to a folder." in result.stderr
    assert (home.folder / "home").read_text() == "mine"


def test_the_records_of_dagster_being_damaged_is_told_with_their_place(home: Home) -> None:
    database = home.data / "dagster" / "history" / "runs.db"
    database.parent.mkdir(parents=True)
    database.write_bytes(b"this is no database" * 100)
    result = home.invoke(*WEATHER)
    assert result.exit_code == 1
    assert (
        f"Error: Dagster's records in {home.data / 'dagster'} cannot be used (file is not a database)" in result.stderr
    )


# --- files changed by hand ---


def test_raw_files_edited_by_hand_hold_back_their_days_only_and_fetching_them_again_heals(home: Home) -> None:
    days = sessions(date(2024, 6, 3), date(2024, 6, 11))
    assert home.materialize(("raw", "weather"), first="2024-06-03", last="2024-06-11")
    as_fetched = home.files("raw/weather")

    def edit(day: date, old: str, new: str) -> None:
        path = home.raw("weather", day)
        text = path.read_text()
        assert old in text or not old
        path.write_text(text.replace(old, new, 1) if old else new)

    edit(days[0], "temperature_c", "temperature_f")
    edit(days[1], "weather_code\n", "weather_code,mood\n")
    edit(days[2], "New York,2024-06-05T05:00", '"New York,2024-06-05T05:00')
    edit(days[3], "2024-06-06T05:00,", "2024-06-06T05:00,warm")
    edit(days[4], "", "")
    bad = {str(day) for day in days[:5]}

    result = home.invoke("run", "--only", "weather", "--start", "2024-06-03", "--end", "2024-06-11")

    assert result.exit_code == 1
    (sentence,) = [line for line in result.stdout.splitlines() if line.startswith("failed prod/weather")]
    assert sentence.startswith("failed prod/weather: 5 not published. ")
    reasons = dict(part.split(": ", 1) for part in sentence.split("published. ")[1].split("; 2024-06"))
    assert "temperature_c is missing, 'temperature_f' is not in the contract" in reasons["2024-06-03"]
    assert "'mood' is not in the contract" in reasons["-04"]
    assert "cannot be parsed as CSV" in reasons["-05"]
    assert "quarantined_share: expected at most 1.0% of the rows" in reasons["-06"]
    assert "is empty: materialize raw/weather for it again" in reasons["-07"]
    good = {"2024-06-08", "2024-06-09", "2024-06-10", "2024-06-11"}
    assert home.materialized("prod", "weather") == good
    assert home.materialized("views", "weather_daily") == good
    published = home.rows(
        "SELECT DISTINCT date(at_timezone(with_timezone(observed_at, 'UTC'), 'America/New_York')) AS day FROM weather"
    )
    assert {str(row["day"]) for row in published} == good
    assert [row["reason"] for row in home.rows("SELECT reason FROM stock_weather_quarantine.weather")] == [
        "temperature_c is not a number"
    ]

    healed = home.invoke("run", "--only", "weather", "--start", "2024-06-03", "--end", "2024-06-11")

    assert healed.exit_code == 0, healed.output
    assert home.files("raw/weather") == as_fetched
    assert home.materialized("prod", "weather") == good | bad
    # What was written by hand is kept beside.
    assert len(home.files("superseded")) == 5


def test_a_corrupt_parquet_file_is_named_where_it_is_read_and_typing_again_heals(home: Home) -> None:
    assert home.invoke(*WEATHER).exit_code == 0
    before = home.tables()
    path = home.lake_folder / "parquet/weather/year=2024/month=06/day=04/weather.parquet"
    path.write_bytes(path.read_bytes()[:100])
    query = home.invoke("query", "SELECT count(*) FROM stock_weather_parquet.weather")
    assert query.exit_code == 1
    assert str(path) in query.stderr
    assert "Traceback" not in query.output
    assert not home.materialize(("prod", "weather"), first="2024-06-03", last="2024-06-05")
    assert home.tables()["weather"] == before["weather"]
    assert home.materialized("prod", "weather") == THREE_DAYS - {"2024-06-04"}
    assert home.invoke(*WEATHER).exit_code == 0
    assert home.materialized("prod", "weather") == THREE_DAYS
    assert home.tables() == before


# --- a catalog from a newer version, and SQL ---


@pytest.mark.parametrize("words", [WEATHER, ("query", "SELECT 1 AS one"), ("status",), ("rollback", "weather")])
def test_a_lake_of_a_newer_version_is_left_alone(kept: Home, words: tuple[str, ...]) -> None:
    marker = kept.lake_folder / "lake.json"
    content = marker.read_text()
    marker.write_text('{"layout": 2, "data": "simulated"}')
    before = kept.files("raw", "parquet", "catalog")
    try:
        result = kept.invoke(*words)
    finally:
        marker.write_text(content)
    assert result.exit_code == 1
    assert "has layout 2, this version reads layout 1: upgrade stock_weather_pipeline, or use another" in result.stderr
    assert "lake (STOCK_WEATHER_HOME" in " ".join(result.stderr.split())
    assert kept.files("raw", "parquet", "catalog") == before


def test_a_catalog_entry_of_a_newer_version_is_refused_with_its_format(kept: Home) -> None:
    entry = kept.lake_folder / "catalog/stock_weather_raw/weather.json"
    content = entry.read_text()
    entry.write_text(content.replace('"format": 1', '"format": 2'))
    try:
        result = kept.invoke("query", "SELECT * FROM stock_weather_raw.weather")
    finally:
        entry.write_text(content)
    assert result.exit_code == 1
    assert "has format 2, this version reads format 1: upgrade stock_weather_pipeline" in result.stderr


@pytest.mark.parametrize(
    ("sql", "sentence"),
    [
        ("DROP TABLE weather", "SELECT"),
        ("DELETE FROM weather", "SELECT"),
        ("SELECT 1; SELECT 2", "one"),
        ("SELECT '2024-06-03'::DATE", "CAST"),
        ("SELECT * FROM read_csv('/etc/passwd')", "read_csv"),
        ("SELECT * FROM wether", "There is no table or view stock_weather.wether; stock_weather holds "),
        ("SELECT warmth FROM weather", "warmth"),
        ("SELEC 1", "SELEC"),
        ("", ""),
    ],
)
def test_sql_that_athena_would_not_run_as_a_query_is_refused_in_a_sentence(kept: Home, sql: str, sentence: str) -> None:
    before = kept.tables()
    result = kept.invoke("query", sql)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: ")
    assert sentence in result.stderr
    assert "Traceback" not in result.stderr
    assert kept.tables() == before
