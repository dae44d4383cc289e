"""A simulated sandbox at a fixed moment, and a client that asks it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import pytest
import requests

from stock_weather_pipeline.sandbox import Sandbox

NOW = datetime(2026, 7, 15, 16, 30, tzinfo=timezone.utc)
SHARED_DATA = Path(__file__).parents[3] / "shared" / "data"


@dataclass
class Client:
    """Asks a sandbox with a key, over one connection that is kept alive."""

    sandbox: Sandbox
    session: requests.Session

    def get(self, path: str, **query: str | int) -> requests.Response:
        headers = {"Authorization": "Bearer any-key"}
        return self.session.get(self.sandbox.url + path, params=query, headers=headers, timeout=10)

    def bars(self, ticker: str, first: str, last: str, **query: str | int) -> requests.Response:
        return self.get(f"/v2/aggs/ticker/{ticker}/range/1/day/{first}/{last}", **query)

    def grouped(self, day: str, **query: str | int) -> requests.Response:
        return self.get(f"/v2/aggs/grouped/locale/us/market/stocks/{day}", **query)

    def hours(self, first: str, last: str, **query: str | int) -> requests.Response:
        place: dict[str, str | int] = {
            "latitude": "40.7128",
            "longitude": "-74.006",
            "elevation": "10",
            "hourly": "temperature_2m,weather_code",
        }
        return self.get("/v1/archive", **(place | {"start_date": first, "end_date": last} | query))


@pytest.fixture(scope="module")
def shared_client() -> Iterator[Client]:
    with Sandbox(now=lambda: NOW) as sandbox, requests.Session() as session:
        yield Client(sandbox, session)


@pytest.fixture
def client(shared_client: Client) -> Client:
    shared_client.sandbox.faults.clear()
    return shared_client


@pytest.fixture
def shared_data() -> Path:
    if not SHARED_DATA.is_dir():
        pytest.skip("the recorded vendor data is not beside this repository, in ../shared/data")
    return SHARED_DATA
