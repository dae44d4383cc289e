"""Settings are right, or say in one sentence which variable is wrong, its value and the valid ones."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from stock_weather_pipeline.errors import SettingsError
from stock_weather_pipeline.settings import NEW_YORK, SANTA_CLARA, Location, load_settings

SECRET = "s3cr3tKeyValue"


@pytest.fixture(autouse=True)
def _nothing_is_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import os

    for name in list(os.environ):
        if name.upper().startswith("STOCK_WEATHER_") or name.upper() in ("POLYGON_API_KEY", "MASSIVE_API_KEY"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_the_defaults_need_nothing_and_are_simulated() -> None:
    settings = load_settings()
    assert (settings.deployment, settings.tickers, settings.locations) == ("local", ("NVDA",), (NEW_YORK, SANTA_CLARA))
    assert settings.simulated
    assert settings.data_home == Path.home() / ".stock_weather_pipeline" / "simulated"


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("STOCK_WEATHER_DEPLOYMENT", "gcp", "STOCK_WEATHER_DEPLOYMENT='gcp' cannot be used: valid values: local, aws."),
        (
            "STOCK_WEATHER_START_DATE",
            "soon",
            "STOCK_WEATHER_START_DATE='soon' cannot be used: valid values: a day such as 2024-01-01, from 1990-01-01",
        ),
        ("STOCK_WEATHER_START_DATE", "1989-12-31", "from 1990-01-01 on"),
        ("STOCK_WEATHER_START_DATE", "2024-02-30", "a day such as 2024-01-01"),
        ("STOCK_WEATHER_POLYGON_CALLS_PER_MINUTE", "0", "a whole number from 1 to 6000"),
        ("STOCK_WEATHER_POLYGON_CALLS_PER_MINUTE", "5.5", "a whole number from 1 to 6000"),
        (
            "STOCK_WEATHER_SANDBOX",
            "perhaps",
            "STOCK_WEATHER_SANDBOX='perhaps' cannot be used: valid values: true, false.",
        ),
        (
            "STOCK_WEATHER_HOME",
            "~nosuchuser/x",
            "STOCK_WEATHER_HOME='~nosuchuser/x' cannot be used: valid values: a folder",
        ),
        ("STOCK_WEATHER_TICKERS", "NVDA,BRK/B", "'BRK/B' is not a ticker: letters, digits and dots only"),
        ("STOCK_WEATHER_TICKERS", "NV'DA", "is not a ticker"),
        ("STOCK_WEATHER_TICKERS", "..", "'..' is not a ticker"),
        ("STOCK_WEATHER_TICKERS", ",", "name at least one ticker, such as NVDA, or * for the whole market"),
        ("STOCK_WEATHER_TICKERS", "*,NVDA", "'*' is not a ticker"),
        ("STOCK_WEATHER_LOCATIONS", "Atlantis", "'Atlantis' is not a known location; write it as NAME=LATITUDE"),
        ("STOCK_WEATHER_LOCATIONS", "A=1,2,3", "write it as NAME=LATITUDE"),
        ("STOCK_WEATHER_LOCATIONS", "A=1,2,high,UTC", "no number where one belongs"),
        ("STOCK_WEATHER_LOCATIONS", "A=91,2,3,UTC", "is not on Earth"),
        ("STOCK_WEATHER_LOCATIONS", "A=1,2,nan,UTC", "is not on Earth"),
        ("STOCK_WEATHER_LOCATIONS", "A=1,2,3,Mars/Base", "'Mars/Base' is not a time zone; use an IANA name"),
        ("STOCK_WEATHER_LOCATIONS", "A=1,2,3,America", "'America' is not a time zone"),
        ("STOCK_WEATHER_LOCATIONS", "A=1,2,3,../UTC", "is not a time zone"),
        ("STOCK_WEATHER_LOCATIONS", "New York;new york", "a location is named twice"),
        ("STOCK_WEATHER_LOCATIONS", ";", "name at least one location"),
        ("STOCK_WEATHER_POLYGON_URL", "ftp://x", "must be a URL such as https://api.example.com"),
        ("STOCK_WEATHER_POLYGON_URL", "api.massive.com", "must be a URL"),
        ("STOCK_WEATHER_POLYGON_URL", "http://localhost:99999", "Port out of range"),
        ("STOCK_WEATHER_OPEN_METEO_URL", "http://[x", "cannot be used"),
    ],
)
def test_a_wrong_value_is_one_sentence(monkeypatch: pytest.MonkeyPatch, name: str, value: str, sentence: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as raised:
        load_settings()
    text = str(raised.value)
    assert sentence in text
    assert text.startswith(f"{name}={value!r} cannot be used: ")
    assert "\n" not in text


@pytest.mark.parametrize(
    "value", [f"https://me:{SECRET}@host", f"https://{SECRET}@host", f"https://host/?apiKey={SECRET}"]
)
def test_a_key_in_a_url_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("STOCK_WEATHER_POLYGON_URL", value)
    with pytest.raises(SettingsError, match="keys belong in POLYGON_API_KEY") as raised:
        load_settings()
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize("name", ["POLYGON_API_KEY", "MASSIVE_API_KEY"])
def test_a_key_is_read_under_both_names_and_never_shown(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, f" {SECRET}\n")
    settings = load_settings()
    assert settings.polygon_api_key is not None
    assert settings.polygon_api_key.get_secret_value() == SECRET
    assert SECRET not in repr(settings) + str(settings) + settings.model_dump_json()
    assert not settings.simulated
    assert settings.data_home.name == "local"


@pytest.mark.parametrize("name", ["POLYGON_API_KEY", "MASSIVE_API_KEY"])
def test_a_key_that_cannot_be_one_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, f"{SECRET} and more")
    with pytest.raises(SettingsError, match="a key is one word of printable characters") as raised:
        load_settings()
    assert SECRET not in str(raised.value)
    assert raised.value.__cause__ is None


def test_an_empty_variable_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYGON_API_KEY", "")
    monkeypatch.setenv("MASSIVE_API_KEY", SECRET)
    monkeypatch.setenv("STOCK_WEATHER_TICKERS", "")
    settings = load_settings()
    assert not settings.simulated
    assert settings.tickers == ("NVDA",)


def test_dotenv_is_read_and_the_environment_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(
        "STOCK_WEATHER_TICKERS=AAPL\nPOLYGON_API_KEY=abc\nSTOCK_WEATHER_START_DATE=2020-05-01\n"
    )
    monkeypatch.setenv("STOCK_WEATHER_TICKERS", "MSFT")
    settings = load_settings()
    assert (settings.tickers, settings.start_date, settings.simulated) == (("MSFT",), date(2020, 5, 1), False)
    (tmp_path / ".env").write_text("STOCK_WEATHER_DEPLOYMENT=gcp\n")
    with pytest.raises(SettingsError, match="STOCK_WEATHER_DEPLOYMENT='gcp'"):
        load_settings()


def test_overrides_win_and_are_named_when_wrong() -> None:
    assert load_settings({"tickers": "A, B,A"}).tickers == ("A", "B")
    assert load_settings({"tickers": "*"}).whole_market
    with pytest.raises(SettingsError, match="STOCK_WEATHER_TICKERS='a/b' cannot be used"):
        load_settings({"tickers": "a/b"})


def test_it_is_simulated_without_a_key_unless_another_server_is_named_and_always_when_asked() -> None:
    assert load_settings().simulated
    assert not load_settings({"polygon_url": "http://127.0.0.1:1"}).simulated
    assert not load_settings({"polygon_api_key": SECRET}).simulated
    assert load_settings({"polygon_api_key": SECRET, "sandbox": True}).simulated


def test_a_location_is_written_out() -> None:
    text = "Santa Clara; Tokyo = 35.68, 139.69, 40, Asia/Tokyo, SONY TM"
    tokyo = Location("Tokyo", 35.68, 139.69, 40.0, "Asia/Tokyo", ("SONY", "TM"))
    assert load_settings({"locations": text}).locations == (SANTA_CLARA, tokyo)


def test_urls_lose_their_last_slash_and_homes_are_absolute(tmp_path: Path) -> None:
    settings = load_settings({"polygon_url": "http://localhost:8080/", "home": "data"})
    assert settings.polygon_url == "http://localhost:8080"
    assert settings.home == tmp_path / "data"
    assert settings.dagster_home == tmp_path / "data" / "local" / "dagster"


_BUCKETS = {"raw_bucket": "raw-1", "parquet_bucket": "parquet-1", "results_bucket": "results-1"}


def test_the_aws_deployment_names_the_buckets_it_misses() -> None:
    with pytest.raises(SettingsError, match="needs STOCK_WEATHER_PARQUET_BUCKET, STOCK_WEATHER_RESULTS_BUCKET: set"):
        load_settings({"deployment": "aws", "raw_bucket": "raw-1"})
    settings = load_settings({"deployment": "aws", **_BUCKETS})
    assert (settings.athena_workgroup, settings.query_deadline_s, settings.ingestion) == ("stock-weather", 900, "run")
    assert load_settings({"raw_bucket": "raw-1"}).deployment == "local"


def test_records_of_runs_on_simulated_data_on_aws_do_not_mix_with_those_of_this_machine() -> None:
    on_aws = load_settings({"deployment": "aws", **_BUCKETS})
    assert on_aws.simulated
    assert on_aws.data_home != load_settings().data_home
    assert load_settings({"deployment": "aws", "polygon_api_key": SECRET, **_BUCKETS}).data_home.name == "aws"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("raw_bucket", "s3://raw"),
        ("results_bucket", "Upper"),
        ("athena_workgroup", "a b"),
        ("query_deadline_s", "0"),
        ("alert_topic_arn", "topic"),
        ("polygon_secret_arn", "arn:aws:s3:::bucket"),
        ("ingestion", "firehose"),
        ("ingest_function", "a b"),
        ("metrics_namespace", ""),
    ],
)
def test_a_setting_of_aws_that_cannot_work_is_named_with_the_valid_values(field: str, value: str) -> None:
    with pytest.raises(SettingsError, match=rf"^STOCK_WEATHER_{field.upper()}='.*' cannot be used: \w"):
        load_settings({field: value})
