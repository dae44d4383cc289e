"""A home with a split and full windows, its page, and Debian's Chromium to open pages with."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from stock_weather_pipeline.dashboard.data import DashboardData, read
from stock_weather_pipeline.dashboard.page import render
from stock_weather_pipeline.sandbox import Sandbox
from stock_weather_pipeline_tests.homes import Home

TICKERS = ("AMD", "NVDA")
FIRST, LAST = "2024-01-02", "2024-08-30"


@pytest.fixture(scope="package")
def charted(tmp_path_factory: pytest.TempPathFactory, vendor: Sandbox) -> Home:
    """Eight months of two tickers, over the split of NVDA of 2024-06-10. Not to be changed by a test."""
    home = Home(tmp_path_factory.mktemp("charted"), vendor.url)
    result = home.invoke("run", "--start", FIRST, "--end", LAST, "--tickers", ",".join(TICKERS))
    assert result.exit_code == 0, result.output
    return home


@pytest.fixture(scope="package")
def charted_data(charted: Home) -> DashboardData:
    with charted.opened() as (_, lake, _instance):
        return read(lake)


@dataclass
class Opened:
    """A page in the browser, with every request it made and everything it wrote to the console."""

    page: Page
    requests: list[str] = field(default_factory=list)
    console: list[str] = field(default_factory=list)

    def value(self, key: str) -> str:
        """The exact value that the value line shows for a curve; empty for none."""
        return self.page.locator(f"[data-key='{key}']").first.get_attribute("data-value") or ""

    @property
    def session(self) -> str:
        """The session that the value line shows."""
        return self.page.locator(".values .session").get_attribute("data-day") or ""


@pytest.fixture
def browser() -> Iterator[Browser]:
    """For one test: while Playwright is open, nothing else in this process can run an event loop, as Dagster does."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("There is no Chromium on the PATH to open the page with: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


Show = Callable[..., Opened]


@pytest.fixture
def show(browser: Browser, tmp_path: Path) -> Iterator[Show]:
    """Called with data: its page, opened from disk. `now` is what the browser takes for the current time."""
    contexts: list[BrowserContext] = []

    def opened(
        data: DashboardData, *, scheme: str = "light", width: int = 1280, touch: bool = False, now: str = "2024-08-31"
    ) -> Opened:
        file = tmp_path / "page.html"
        file.write_bytes(render(data))
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme="dark" if scheme == "dark" else "light",
            has_touch=touch,
            is_mobile=touch,
        )
        contexts.append(context)
        page = context.new_page()
        page.clock.set_fixed_time(datetime.fromisoformat(now).replace(hour=18, tzinfo=timezone.utc))
        seen = Opened(page)
        page.on("request", lambda request: seen.requests.append(request.url))
        page.on("console", lambda message: seen.console.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: seen.console.append(f"error: {error}"))
        page.goto(file.as_uri())
        page.wait_for_selector("html[data-ready]", timeout=60_000)
        return seen

    yield opened
    for context in contexts:
        context.close()
