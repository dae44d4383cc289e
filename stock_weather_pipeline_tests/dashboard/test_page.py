"""The page in a browser, opened from disk: what it shows is what the views hold, and every way to use it works."""

from __future__ import annotations

import base64
import csv
import re
import struct
from dataclasses import replace
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
from axe_playwright_python.sync_playwright import Axe

from stock_weather_pipeline.dashboard.data import MOST_TICKERS, Answer, DashboardData, read
from stock_weather_pipeline.dashboard.page import render
from stock_weather_pipeline.dashboard.panels import PANELS
from stock_weather_pipeline.lake.layout import ViewDefinition
from stock_weather_pipeline_tests.dashboard.conftest import LAST, TICKERS, Opened, Show
from stock_weather_pipeline_tests.homes import Home
from stock_weather_pipeline_tests.lakes import local_lake

THEMES = pytest.mark.parametrize("scheme", ["light", "dark"])
OF_SESSIONS = {
    "stock_prices_adjusted": ("open", "high", "low", "close", "volume"),
    "moving_averages": ("sma_7", "sma_30"),
    "bollinger_bands": ("lower_band", "middle_band", "upper_band"),
    "daily_change": ("change_pct",),
    "macd": ("macd", "signal", "histogram"),
}
"""What is drawn over the sessions, by the view that holds it."""
PRICES_OF_NVDA = "SELECT * FROM stock_prices_adjusted WHERE ticker = 'NVDA' ORDER BY trade_date"
PANEL_OF = {"stock_prices_adjusted": "price", "daily_change": "daily_change"}


def key(view: str, column: str) -> str:
    panel = "volume" if column == "volume" else PANEL_OF.get(view, view)
    return f"{panel}.{column}"


def choose(opened: Opened, ticker: str) -> None:
    opened.page.select_option("#ticker", ticker)
    opened.page.wait_for_function("t => document.getElementById('stocks-title').textContent.startsWith(t)", arg=ticker)
    opened.page.wait_for_timeout(200)


def shown_sessions(opened: Opened) -> int:
    low, high = opened.page.evaluate("document.getElementById('plot').layout.xaxis.range")
    width: float = high - low
    return round(width)


def for_tickers(data: DashboardData, names: list[str]) -> DashboardData:
    """The data with the rows of one ticker under many names."""

    def many(name: str, answer: Answer) -> Answer:
        if PANELS[name].per != "ticker" or answer.rows is None:
            return answer
        rows = answer.rows.filter(pa.compute.equal(answer.rows["ticker"], "NVDA"))
        copies = [rows.set_column(0, "ticker", pa.array([ticker] * rows.num_rows, pa.string())) for ticker in names]
        return Answer(rows=pa.concat_tables(copies))

    return replace(
        data, answers={name: many(name, answer) for name, answer in data.answers.items()}, tickers=tuple(names)
    )


def test_it_asks_for_nothing_and_the_browser_complains_of_nothing(show: Show, charted_data: DashboardData) -> None:
    opened = show(charted_data)
    for name in ("volatility", "weather", "against", "rows"):
        opened.page.wait_for_selector(f"#{name} svg.main-svg")
    opened.page.hover("#weather .nsewdrag >> nth=0")
    assert [url for url in opened.requests if not url.startswith(("file:", "data:", "blob:"))] == []
    assert len([url for url in opened.requests if url.startswith("file:")]) == 1
    assert opened.console == []


def test_nothing_can_be_added_to_it(show: Show, charted_data: DashboardData) -> None:
    opened = show(charted_data)
    policy = opened.page.get_attribute("meta[http-equiv='Content-Security-Policy']", "content") or ""
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    opened.page.evaluate(
        "() => { const s = document.createElement('script'); s.textContent = 'window.added = 1';"
        " document.body.append(s); }"
    )
    assert opened.page.evaluate("window.added") is None
    assert any("Content Security Policy" in line for line in opened.console)


@pytest.mark.parametrize("ticker", TICKERS)
def test_the_curves_are_the_views(show: Show, charted: Home, charted_data: DashboardData, ticker: str) -> None:
    opened = show(charted_data)
    choose(opened, ticker)
    drawn = opened.page.evaluate(
        "() => Object.fromEntries(document.getElementById('plot').data.flatMap(t => t.type === 'candlestick'"
        " ? ['open', 'high', 'low', 'close'].map(f => ['price.' + f, [...t[f]]]) : [[t.meta, [...t.y]]]))"
    )
    assert len(drawn) == sum(len(columns) for columns in OF_SESSIONS.values())
    for view, columns in OF_SESSIONS.items():
        rows = charted.rows(f"SELECT * FROM {view} WHERE ticker = '{ticker}' ORDER BY trade_date")
        assert len(rows) == 168
        for column in columns:
            assert drawn[key(view, column)] == [row[column] for row in rows], column


def test_weather_volatility_and_scatter_are_the_views(show: Show, charted: Home, charted_data: DashboardData) -> None:
    page = show(charted_data).page
    page.select_option("#ticker", "NVDA")
    page.select_option("#location", "Santa Clara")
    weather = charted.rows("SELECT * FROM weather_daily WHERE location = 'Santa Clara' ORDER BY local_date")
    drawn = page.evaluate("() => document.getElementById('weather').data.map(t => [t.x, t.y])")
    columns = ("temperature_min_c", "temperature_max_c", "temperature_mean_c", "precipitation_mm")
    for (days, values), column in zip(drawn, columns, strict=True):
        assert days == [str(row["local_date"]) for row in weather]
        assert values == [pytest.approx(row[column], abs=1e-8) for row in weather]
    volatility = charted.rows("SELECT * FROM volatility WHERE ticker = 'NVDA' ORDER BY trade_date")
    weeks, cells = page.evaluate("() => { const t = document.getElementById('volatility').data[0]; return [t.x, t.z] }")
    found = {
        (week, day): value for day, row in enumerate(cells) for week, value in zip(weeks, row, strict=True) if value
    }
    assert found == {
        (str(row["trade_date"].fromordinal(row["trade_date"].toordinal() - row["trade_date"].weekday())), day): value
        for row in volatility
        for day, value in [(row["trade_date"].weekday(), row["range_pct"])]
    }
    pairs = charted.rows(
        "SELECT * FROM stock_weather WHERE ticker = 'NVDA' AND location = 'Santa Clara' AND change_pct IS NOT NULL "
        "AND temperature_mean_c IS NOT NULL ORDER BY trade_date"
    )
    x, y = page.evaluate("() => { const t = document.getElementById('against').data[0]; return [t.x, t.y] }")
    assert x == [pytest.approx(row["temperature_mean_c"], abs=1e-8) for row in pairs]
    assert y == [row["change_pct"] for row in pairs]
    note = page.text_content("#against-note") or ""
    assert note.startswith(f"n = {len(pairs)}, r = ")
    assert "Correlation is not cause" in note


def test_the_crosshair_and_the_value_line_say_the_same(show: Show, charted: Home, charted_data: DashboardData) -> None:
    opened = show(charted_data)
    choose(opened, "NVDA")
    box = opened.page.locator("#plot").bounding_box()
    assert box is not None
    seen = set()
    for share in (0.2, 0.5, 0.7):
        opened.page.mouse.move(box["x"] + box["width"] * share, box["y"] + 150)
        assert opened.page.text_content("#cursor-day") == opened.session
        index, left = opened.page.evaluate(
            "() => { const line = document.getElementById('cursor-x'); const x = document.getElementById('plot')"
            "._fullLayout.xaxis; return [Number(line.dataset.index),"
            " x._offset + x.d2p(Number(line.dataset.index)) - parseFloat(line.style.left)] }"
        )
        assert abs(left) < 0.01
        for view, columns in OF_SESSIONS.items():
            (row,) = charted.rows(
                f"SELECT * FROM {view} WHERE ticker = 'NVDA' AND trade_date = DATE '{opened.session}'"
            )
            for column in columns:
                text = opened.value(key(view, column))
                assert (float(text) if text else None) == row[column]
        seen.add((index, opened.session))
    assert len(seen) == 3


def test_values_are_blank_until_their_window_is_full(show: Show, charted_data: DashboardData) -> None:
    opened = show(charted_data)
    opened.page.click("#ranges button:has-text('All')")
    opened.page.focus("#plot")
    opened.page.keyboard.press("Home")
    assert opened.session == "2024-01-02"
    first_with: dict[str, int] = {}
    for position in range(40):
        for name in ("moving_averages.sma_7", "moving_averages.sma_30", "macd.macd", "macd.signal"):
            if opened.value(name):
                first_with.setdefault(name, position + 1)
        opened.page.keyboard.press("ArrowRight")
    assert first_with == {
        "moving_averages.sma_7": 7,
        "moving_averages.sma_30": 30,
        "macd.macd": 26,
        "macd.signal": 34,
    }


def test_keys_move_one_session_and_the_window_with_it(show: Show, charted_data: DashboardData) -> None:
    opened = show(charted_data)
    opened.page.click("#ranges button:has-text('1M')")
    opened.page.focus("#plot")
    assert opened.session == LAST
    opened.page.keyboard.press("ArrowLeft")
    assert opened.session == "2024-08-29"
    opened.page.keyboard.press("ArrowRight")
    assert opened.session == LAST
    opened.page.keyboard.press("ArrowRight")
    assert opened.session == LAST, "there is nothing after the last"
    for _ in range(22):
        opened.page.keyboard.press("ArrowLeft")
        opened.page.wait_for_timeout(20)
    opened.page.wait_for_timeout(300)
    assert opened.session == "2024-07-31"
    low, high = opened.page.evaluate("document.getElementById('plot').layout.xaxis.range")
    assert low <= 167 - 22 <= high, "the session is in the window"
    spoken = opened.page.get_attribute("#plot", "aria-valuetext") or ""
    assert spoken.startswith("2024-07-31: close ")
    opened.page.keyboard.press("?")
    assert opened.page.locator("#help").is_visible()
    opened.page.keyboard.press("Escape")
    assert not opened.page.locator("#help").is_visible()


def test_ranges_zoom_every_pane_and_fit_the_axes(show: Show, charted_data: DashboardData) -> None:
    opened = show(charted_data)
    page = opened.page
    for name, sessions in (("1M", 21), ("3M", 63), ("6M", 126), ("All", 168)):
        page.click(f"#ranges button:has-text('{name}')")
        page.wait_for_timeout(200)
        assert shown_sessions(opened) == sessions
        assert page.get_attribute(f"#ranges button:has-text('{name}')", "aria-pressed") == "true"
        low, high, least, most = page.evaluate(
            "() => { const g = document.getElementById('plot'); const [a, b] = g.layout.xaxis.range;"
            " const c = g.data[0]; const at = c.x.filter(i => i >= a && i <= b); return [...g.layout.yaxis.range,"
            " Math.min(...at.map(i => c.low[i])), Math.max(...at.map(i => c.high[i]))] }"
        )
        assert low < least
        assert most < high
    page.click("#ranges button:has-text('3M')")
    page.focus("#from")
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(200)
    assert shown_sessions(opened) == 62
    page.click("#log")
    page.wait_for_timeout(200)
    assert page.evaluate("document.getElementById('plot').layout.yaxis.type") == "log"
    low, high = page.evaluate("document.getElementById('plot').layout.yaxis.range")
    assert 0 < low < high < 5, "the exponents of ten of prices"


def test_drag_and_wheel_move_and_zoom_all_panes(show: Show, charted_data: DashboardData) -> None:
    opened = show(charted_data)
    page = opened.page
    page.click("#ranges button:has-text('1M')")
    page.wait_for_timeout(200)
    box = page.locator("#plot").bounding_box()
    assert box is not None
    before = page.evaluate("document.getElementById('plot').layout.xaxis.range")
    page.mouse.move(box["x"] + 400, box["y"] + 200)
    page.mouse.down()
    page.mouse.move(box["x"] + 700, box["y"] + 200, steps=5)
    page.mouse.up()
    page.wait_for_timeout(500)
    after = page.evaluate("document.getElementById('plot').layout.xaxis.range")
    assert after[0] < before[0] - 2
    assert after[1] - after[0] == pytest.approx(before[1] - before[0])
    page.mouse.wheel(0, 400)
    page.wait_for_timeout(800)
    assert shown_sessions(opened) > 21
    page.mouse.dblclick(box["x"] + 400, box["y"] + 200)
    page.wait_for_timeout(500)
    assert shown_sessions(opened) == 168


def test_weekends_and_holidays_leave_no_gap(show: Show, charted_data: DashboardData) -> None:
    x = show(charted_data).page.evaluate("document.getElementById('plot').data[0].x")
    assert x == list(range(168))


def test_a_split_is_marked_and_the_adjustment_is_said(show: Show, charted: Home, charted_data: DashboardData) -> None:
    opened = show(charted_data)
    choose(opened, "NVDA")
    page = opened.page
    markers = page.evaluate("document.getElementById('plot').layout.annotations.map(a => [a.text, a.x])")
    days = [row["trade_date"] for row in charted.rows(PRICES_OF_NVDA)]
    splits = charted.rows("SELECT * FROM stock_splits WHERE ticker = 'NVDA' ORDER BY execution_date")
    assert markers == [
        [f"Split {split['split_to']:g}:{split['split_from']:g}", days.index(split["execution_date"])]
        for split in splits
        if days[0] < split["execution_date"] <= days[-1]
    ]
    assert ["Split 10:1", days.index(date(2024, 6, 10))] in markers
    assert "adjusted for splits" in (page.text_content("#stocks-note") or "")
    choose(opened, "AMD")
    assert page.evaluate("document.getElementById('plot').layout.annotations.length") == 0


def test_a_curve_is_switched_off_and_on_in_its_value_line(show: Show, charted_data: DashboardData) -> None:
    page = show(charted_data).page
    button = page.locator("button[data-key='moving_averages.sma_30']")
    visible = "document.getElementById('plot').data.find(t => t.meta === 'moving_averages.sma_30').visible"
    assert (button.get_attribute("aria-pressed"), page.evaluate(visible)) == ("true", True)
    button.click()
    assert (button.get_attribute("aria-pressed"), page.evaluate(visible)) == ("false", False)
    button.click()
    assert (button.get_attribute("aria-pressed"), page.evaluate(visible)) == ("true", True)
    assert "SMA 30" in (button.text_content() or "")


@THEMES
def test_the_theme_is_the_systems_and_can_be_switched(show: Show, charted_data: DashboardData, scheme: str) -> None:
    page = show(charted_data, scheme=scheme).page
    background = "getComputedStyle(document.body).backgroundColor"
    plot = "document.getElementById('plot').layout.paper_bgcolor"
    assert page.get_attribute("html", "data-theme") == scheme
    before = (page.evaluate(background), page.evaluate(plot))
    page.click("#theme")
    page.wait_for_timeout(300)
    assert page.get_attribute("html", "data-theme") != scheme
    after = (page.evaluate(background), page.evaluate(plot))
    assert before[0] != after[0]
    assert before[1] != after[1]


@THEMES
def test_axe_finds_nothing_serious(show: Show, charted_data: DashboardData, scheme: str) -> None:
    page = show(charted_data, scheme=scheme).page
    page.locator("#table-details summary").click()
    for place in (None, "#help"):
        if place:
            page.click("#help-open")
        found = Axe().run(page, place).response
        assert len(found["passes"]) > 5
        serious = [
            (v["id"], [node["html"][:120] for node in v["nodes"]])
            for v in found["violations"]
            if v["impact"] in ("serious", "critical")
        ]
        assert serious == []


def test_on_a_phone_nothing_is_wider_than_the_screen(show: Show, charted_data: DashboardData) -> None:
    opened = show(charted_data, width=375, touch=True)
    page = opened.page
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    assert page.evaluate("document.getElementById('plot')._fullLayout.dragmode") is False
    box = page.locator("#plot").bounding_box()
    assert box is not None
    before = opened.session
    page.touchscreen.tap(box["x"] + 120, box["y"] + 200)
    assert opened.session != before


def test_the_table_says_what_the_charts_do(show: Show, charted: Home, charted_data: DashboardData) -> None:
    opened = show(charted_data)
    choose(opened, "NVDA")
    page = opened.page
    page.click("#ranges button:has-text('1M')")
    page.locator("#table-details summary").click()
    page.wait_for_selector("#table tbody tr")
    rows = page.locator("#table tbody tr")
    assert rows.count() == 21
    texts = rows.first.locator("td").all_text_contents()
    (row,) = charted.rows(f"SELECT * FROM stock_prices_adjusted WHERE ticker = 'NVDA' AND trade_date = DATE '{LAST}'")
    assert texts[:6] == [LAST, *(f"{row[name]:,.2f}" for name in ("open", "high", "low", "close")), texts[5]]


def test_the_csv_file_is_the_views(show: Show, charted: Home, charted_data: DashboardData, tmp_path: Path) -> None:
    opened = show(charted_data)
    choose(opened, "NVDA")
    opened.page.click("#ranges button:has-text('All')")
    opened.page.wait_for_timeout(200)
    with opened.page.expect_download() as download:
        opened.page.click("#csv")
    assert download.value.suggested_filename == f"simulated-NVDA-2024-01-02-{LAST}.csv"
    file = tmp_path / "saved.csv"
    download.value.save_as(file)
    with file.open() as text:
        saved = list(csv.DictReader(text))
    expected = charted.rows(
        "SELECT p.*, s.sma_7, s.sma_30, b.lower_band, b.middle_band, b.upper_band, c.change_pct, m.macd, m.signal, "
        "m.histogram FROM stock_prices_adjusted p JOIN moving_averages s USING (ticker, trade_date) "
        "JOIN bollinger_bands b USING (ticker, trade_date) JOIN daily_change c USING (ticker, trade_date) "
        "JOIN macd m USING (ticker, trade_date) WHERE ticker = 'NVDA' ORDER BY trade_date"
    )
    assert len(saved) == len(expected) == 168
    for found, row in zip(saved, expected, strict=True):
        assert found.pop("ticker") == "NVDA"
        assert found.pop("trade_date") == str(row["trade_date"])
        assert {name: float(text) if text else None for name, text in found.items()} == {
            name: row[name] for name in found
        }


def test_the_png_file_is_a_picture(show: Show, charted_data: DashboardData, tmp_path: Path) -> None:
    opened = show(charted_data)
    with opened.page.expect_download() as download:
        opened.page.click("#png")
    file = tmp_path / "saved.png"
    download.value.save_as(file)
    data = file.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", data[16:24])[0] == 2800
    assert opened.console == []


def test_data_of_the_sandbox_are_called_simulated(show: Show, charted_data: DashboardData) -> None:
    real = show(replace(charted_data, simulated=False)).page
    assert not real.locator("#simulated").is_visible()
    assert "SIMULATED" not in real.title() + (real.text_content("#footer") or "")
    page = show(charted_data).page
    assert page.locator("#simulated").is_visible()
    assert page.title().startswith("SIMULATED DATA")
    assert "SIMULATED DATA" in (page.text_content("#footer") or "")


def test_it_says_how_far_the_data_go_whose_they_are_and_by_which_clock(show: Show, charted_data: DashboardData) -> None:
    page = show(replace(charted_data, simulated=False)).page
    assert page.text_content("#through") == f"Prices through {LAST}, weather through {LAST}"
    footer = page.text_content("#footer") or ""
    assert "Open-Meteo.com, CC BY 4.0" in footer
    assert "America/New_York" in footer


def test_without_data_it_says_what_to_do(show: Show, tmp_path: Path) -> None:
    opened = show(read(local_lake(tmp_path / "lake")))
    assert opened.page.text_content("#notices") == "Nothing is published yet. Run: stock-weather run"
    assert "Run: stock-weather run" in (opened.page.text_content("#no-prices") or "")
    assert not opened.page.locator("#ticker-pick").is_visible()
    assert opened.console == []


@pytest.mark.parametrize(
    ("now", "behind"), [("2024-08-31", 0), ("2024-09-03", 0), ("2024-09-04", 1), ("2024-09-05", 2)]
)
def test_old_data_are_called_stale_once_sessions_have_closed(
    show: Show, charted_data: DashboardData, now: str, behind: int
) -> None:
    # Labor Day, 2024-09-02, is no session.
    page = show(charted_data, now=now).page
    newest = page.locator("#health-stats > div").first
    assert (newest.text_content() or "").endswith(f"{behind} behind" if behind else "as expected")
    assert newest.get_attribute("class") == ["good", "warning", "bad"][behind]
    assert ("Stale: 2 sessions have closed" in (page.text_content("#notices") or "")) == (behind == 2)


def test_a_panel_that_fails_says_why_and_the_others_are_drawn(show: Show, charted: Home) -> None:
    with charted.opened() as (_, lake, _instance):
        good = lake.catalog.get_view("volatility")
        assert good is not None
        lake.catalog.put_view(ViewDefinition("volatility", "SELECT nonsense FROM stock_prices", "", ()))
        try:
            data = read(lake)
        finally:
            lake.catalog.put_view(good)
    assert list(data.failed) == ["volatility"]
    opened = show(data)
    assert "One panel could not be made: Daily volatility." in (opened.page.text_content("#notices") or "")
    assert (opened.page.text_content("#volatility .state") or "").startswith(
        "This panel could not be made: There is no column nonsense"
    )
    assert opened.page.evaluate("document.getElementById('plot').data.length") > 5
    assert opened.console == []


def test_days_held_back_by_their_audit_are_named(show: Show, charted_data: DashboardData) -> None:
    failed = pa.table(
        {
            "day": pa.array([19000], pa.int32()).cast(pa.date32()),
            "dataset": ["stock_prices"],
            "check_name": ["row_rules"],
            "expected": ["0 rows"],
            "actual": ["3 rows <b>"],
        }
    )
    count = pa.table({"failed": pa.array([1], pa.int64()), "checked": pa.array([100], pa.int64())})
    answers = {**charted_data.answers, "failed_checks": Answer(rows=failed), "failed_check_count": Answer(rows=count)}
    page = show(replace(charted_data, answers=answers)).page
    assert "1 checks of days failed" in (page.text_content("#notices") or "")
    cells = page.locator("#health-tables .data >> nth=0").locator("tbody td").all_text_contents()
    assert cells == ["2022-01-08", "stock_prices", "row_rules", "0 rows", "3 rows <b>"]


def test_the_same_data_give_the_same_bytes(charted: Home, charted_data: DashboardData) -> None:
    with charted.opened() as (_, lake, _instance):
        assert render(read(lake)) == render(charted_data)


def test_five_years_of_a_ticker_are_under_6_mb(charted_data: DashboardData) -> None:
    one = for_tickers(charted_data, ["NVDA"])

    def eightfold(answer: Answer) -> Answer:
        return answer if answer.rows is None else Answer(rows=pa.concat_tables([answer.rows] * 8))

    size = len(render(replace(one, answers={name: eightfold(answer) for name, answer in one.answers.items()})))
    assert 168 * 8 > 5 * 252
    assert size < 6_000_000


def test_fifty_tickers_work(show: Show, charted_data: DashboardData) -> None:
    names = [f"T{n:02}" for n in range(MOST_TICKERS)]
    opened = show(for_tickers(charted_data, names))
    assert opened.page.locator("#ticker option").all_text_contents() == names
    choose(opened, "T49")
    assert opened.value("price.close")
    assert opened.console == []


def test_no_value_is_lost_on_the_way_into_the_page(charted_data: DashboardData) -> None:
    text = render(charted_data).decode()
    rows = charted_data.answers["macd"].rows
    assert rows is not None
    expected = rows.filter(pa.compute.equal(rows["ticker"], "NVDA"))["macd"].to_pylist()
    packed = [float("nan") if value is None else value for value in expected]
    assert base64.b64encode(struct.pack(f"<{len(packed)}d", *packed)).decode() in text
    assert not re.search(r"<script[^>]* src=|<link", text.split("<script>")[0])
