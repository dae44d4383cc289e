"""The one place that reads the environment. Values are validated here and nowhere else; nothing here touches a disk
other than reading `.env`, and nothing here talks to a network.

A setting that is wrong fails at start with a sentence that names the variable, its value and the valid ones.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from stock_weather_pipeline.errors import SettingsError

POLYGON_URL = "https://api.massive.com"
OPEN_METEO_URL = "https://archive-api.open-meteo.com"
WHOLE_MARKET = ("*",)
# The trading calendar begins here; the vendor's longest plans reach back to 2003.
EARLIEST_DAY = date(1990, 1, 1)

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_TICKER = re.compile(r"[A-Za-z][A-Za-z0-9.]{0,15}")


@dataclass(frozen=True)
class Location:
    """A place whose weather is kept.

    Coordinates are pinned together with the elevation, because the vendor corrects temperatures for elevation and
    guesses another one from time to time.
    """

    name: str
    latitude: float
    longitude: float
    elevation_m: float
    time_zone: str
    headquarters_of: tuple[str, ...] = ()


NEW_YORK = Location("New York", 40.7128, -74.0060, 10.0, "America/New_York")
SANTA_CLARA = Location("Santa Clara", 37.3541, -121.9552, 22.0, "America/Los_Angeles", ("NVDA",))


def parse_ticker(text: str) -> str:
    """A ticker as the vendor spells it (case-sensitive). Raises ValueError with a sentence for anything else."""
    ticker = text.strip()
    if not _TICKER.fullmatch(ticker):
        raise ValueError(
            f"{ticker!r} is not a ticker: letters, digits and dots only, starting with a letter, such as NVDA or BRK.B"
        )
    return ticker


def parse_tickers(text: str) -> tuple[str, ...]:
    """`A,B` in the given order without repetition, or the whole market for `*`."""
    if text.strip() == "*":
        return WHOLE_MARKET
    tickers = tuple(dict.fromkeys(parse_ticker(part) for part in text.split(",") if part.strip()))
    if not tickers:
        raise ValueError("name at least one ticker, such as NVDA, or * for the whole market")
    return tickers


def _parse_location(text: str) -> Location:
    name, separator, rest = (part.strip() for part in text.partition("="))
    known = {place.name.lower(): place for place in (NEW_YORK, SANTA_CLARA)}
    if not separator:
        if name.lower() in known:
            return known[name.lower()]
        raise ValueError(f"{name!r} is not a known location; write it as {_LOCATION_FORM}")
    parts = [part.strip() for part in rest.split(",")]
    if not name or len(parts) not in (4, 5):
        raise ValueError(f"{text.strip()!r} is not a location; write it as {_LOCATION_FORM}")
    try:
        latitude, longitude, elevation_m = (float(part) for part in parts[:3])
    except ValueError:
        raise ValueError(f"{text.strip()!r} has no number where one belongs; write it as {_LOCATION_FORM}") from None
    if not (-90 <= latitude <= 90 and -180 <= longitude <= 180 and -500 <= elevation_m <= 9000):
        raise ValueError(
            f"{text.strip()!r} is not on Earth: latitude is -90..90, longitude -180..180, elevation -500..9000 m"
        )
    try:
        ZoneInfo(parts[3])
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{parts[3]!r} is not a time zone; use an IANA name such as America/New_York") from None
    tickers = tuple(parse_ticker(part) for part in parts[4].split()) if len(parts) == 5 else ()
    return Location(name, latitude, longitude, elevation_m, parts[3], tickers)


_LOCATION_FORM = "NAME=LATITUDE,LONGITUDE,ELEVATION_M,TIME_ZONE[,TICKERS WITH THEIR HEADQUARTERS THERE]"


def parse_locations(text: str) -> tuple[Location, ...]:
    """`NAME=LAT,LON,ELEVATION_M,ZONE[,TICKERS]` entries separated by `;`; New York and Santa Clara need only a name."""
    locations = tuple(_parse_location(part) for part in text.split(";") if part.strip())
    if not locations:
        raise ValueError(f"name at least one location, as {_LOCATION_FORM}")
    names = [location.name for location in locations]
    if len(set(names)) != len(names):
        raise ValueError("a location is named twice")
    return locations


class Settings(BaseSettings):
    """Everything that can be configured, with its default. Secrets are never printed by `repr` or in errors."""

    model_config = SettingsConfigDict(
        env_prefix="STOCK_WEATHER_",
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        populate_by_name=True,
    )

    deployment: Literal["local", "aws"] = "local"
    home: Path = Path("~/.stock_weather_pipeline")
    tickers: Annotated[tuple[str, ...], NoDecode] = ("NVDA",)
    locations: Annotated[tuple[Location, ...], NoDecode] = (NEW_YORK, SANTA_CLARA)
    start_date: date = Field(date(2024, 1, 1), ge=EARLIEST_DAY)
    polygon_api_key: SecretStr | None = Field(
        None, validation_alias=AliasChoices("polygon_api_key", "POLYGON_API_KEY", "MASSIVE_API_KEY")
    )
    polygon_url: str = POLYGON_URL
    open_meteo_url: str = OPEN_METEO_URL
    polygon_calls_per_minute: int = Field(5, ge=1, le=6000)
    sandbox: bool = False
    revision_days_weather: int = Field(10, ge=0, le=90)
    revision_sessions_stocks: int = Field(5, ge=0, le=60)
    dagster_url: str = "http://127.0.0.1:3000"
    alert_webhook_url: SecretStr | None = None
    # Of the aws deployment. Region, endpoint and credentials come through AWS's own variables and profiles.
    raw_bucket: str | None = None
    parquet_bucket: str | None = None
    results_bucket: str | None = None
    athena_workgroup: str = Field("stock-weather", pattern=r"^[A-Za-z0-9._-]{1,128}$")
    query_deadline_s: float = Field(900, ge=1, le=14_400)
    alert_topic_arn: str | None = Field(None, pattern=r"^arn:[\w-]+:sns:[\w-]+:\d{12}:[\w.-]+$")
    polygon_secret_arn: str | None = Field(None, pattern=r"^arn:[\w-]+:secretsmanager:[\w-]+:\d{12}:secret:\S+$")
    ingestion: Literal["run", "lambda"] = "run"
    ingest_function: str = Field("stock-weather-ingest", pattern=r"^[A-Za-z0-9_-]{1,64}$")
    metrics_namespace: str = Field("StockWeather", pattern=r"^[A-Za-z0-9._/#-]{1,255}$")

    @field_validator("tickers", mode="before")
    @classmethod
    def _tickers(cls, value: Any) -> Any:
        return parse_tickers(value) if isinstance(value, str) else value

    @field_validator("locations", mode="before")
    @classmethod
    def _locations(cls, value: Any) -> Any:
        return parse_locations(value) if isinstance(value, str) else value

    @field_validator("home")
    @classmethod
    def _home(cls, value: Path) -> Path:
        try:
            return value.expanduser().absolute()
        except RuntimeError:
            raise ValueError("there is no such user") from None

    @field_validator("raw_bucket", "parquet_bucket", "results_bucket")
    @classmethod
    def _bucket(cls, value: str | None) -> str | None:
        if value is not None and not _BUCKET.fullmatch(value):
            raise ValueError("a bucket's name is 3 to 63 lower-case letters, digits, dots and hyphens, without s3://")
        return value

    @field_validator("polygon_api_key")
    @classmethod
    def _key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None or not value.get_secret_value().strip():
            return None
        if not value.get_secret_value().strip().isprintable() or " " in value.get_secret_value().strip():
            raise ValueError("a key is one word of printable characters")
        return SecretStr(value.get_secret_value().strip())

    @field_validator("alert_webhook_url")
    @classmethod
    def _webhook(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None or not value.get_secret_value().strip():
            return None
        url = value.get_secret_value().strip()
        parts = urlsplit(url)
        _ = parts.port
        if parts.scheme not in ("http", "https") or not parts.hostname or not url.isprintable() or " " in url:
            raise ValueError("must be a URL such as https://hooks.example.com/services/...")
        return SecretStr(url)

    @field_validator("polygon_url", "open_meteo_url", "dagster_url")
    @classmethod
    def _url(cls, value: str) -> str:
        parts = urlsplit(value)
        _ = parts.port  # raises ValueError for an impossible one
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must be a URL such as https://api.example.com")
        if parts.username or parts.password or parts.query:
            raise ValueError("must hold no user, password or query: keys belong in POLYGON_API_KEY")
        return value.rstrip("/")

    @property
    def simulated(self) -> bool:
        """True when the built-in sandbox stands in for the vendors: asked for, or no key and no other server named."""
        return self.sandbox or (self.polygon_api_key is None and self.polygon_url == POLYGON_URL)

    @property
    def whole_market(self) -> bool:
        return self.tickers == WHOLE_MARKET

    @property
    def data_home(self) -> Path:
        """The folder of this deployment's data; simulated data has its own, so it can never mix with real data."""
        if self.simulated:
            return self.home / ("simulated" if self.deployment == "local" else f"{self.deployment}-simulated")
        return self.home / self.deployment

    @property
    def dagster_home(self) -> Path:
        return self.data_home / "dagster"


def load_settings(overrides: Mapping[str, Any] | None = None) -> Settings:
    """Settings from the environment and `.env`; `overrides` win. Raises SettingsError for the first wrong value."""
    try:
        settings = Settings(**(overrides or {}))
    except ValidationError as error:
        raise SettingsError(_sentence(error, overrides or {})) from None
    if settings.deployment == "aws":
        _check_aws(settings)
    return settings


def _check_aws(settings: Settings) -> None:
    needed = ["raw_bucket", "parquet_bucket", "results_bucket"]
    missing = [f"STOCK_WEATHER_{name.upper()}" for name in needed if getattr(settings, name) is None]
    if missing:
        raise SettingsError(
            f"STOCK_WEATHER_DEPLOYMENT=aws needs {', '.join(missing)}: set the names of the deployed stack's buckets."
        )


_URL_SECRETS = re.compile(r"(?<=//)[^/]*(?=@)|(?<=[?]).*")

_VALID = {
    "deployment": "local, aws",
    "start_date": f"a day such as 2024-01-01, from {EARLIEST_DAY} on",
    "polygon_calls_per_minute": "a whole number from 1 to 6000 (5 on the vendor's free plan)",
    "revision_days_weather": "a whole number of days from 0 to 90",
    "revision_sessions_stocks": "a whole number of sessions from 0 to 60",
    "home": "a folder",
    "athena_workgroup": "a workgroup's name: letters, digits, dots, underscores and hyphens",
    "query_deadline_s": "seconds from 1 to 14400",
    "alert_topic_arn": "the ARN of an SNS topic, such as arn:aws:sns:us-east-1:123456789012:stock-weather-alerts",
    "polygon_secret_arn": "the ARN of a secret, such as arn:aws:secretsmanager:us-east-1:123456789012:secret:key",
    "ingestion": "run, lambda",
    "ingest_function": "a Lambda function's name: letters, digits, underscores and hyphens",
    "metrics_namespace": "a CloudWatch namespace: letters, digits and . _ / # -",
    "sandbox": "true, false",
}


def _sentence(error: ValidationError, overrides: Mapping[str, Any]) -> str:
    first = error.errors(include_url=False, include_context=False)[0]
    field = str(first["loc"][0])
    key = field.lower() in ("polygon_api_key", "massive_api_key")
    secret = key or field == "alert_webhook_url"
    name = field.upper() if key else f"STOCK_WEATHER_{field.upper()}"
    raw = overrides.get(field, _environment_value(name))
    # A key typed into a URL by mistake is still a key.
    shown = "" if secret or raw is None else f"={re.sub(_URL_SECRETS, '***', str(raw))!r}"
    reason = first["msg"].removeprefix("Value error, ")
    if field in _VALID:
        reason = f"valid values: {_VALID[field]}"
    return f"{name}{shown} cannot be used: {reason}."


def _environment_value(name: str) -> str | None:
    import os

    from dotenv import dotenv_values

    return os.environ.get(name) or dotenv_values(".env").get(name)
