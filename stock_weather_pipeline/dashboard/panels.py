"""The panels: which question each answers, the SQL on the tables and views that answers it, and how it is drawn.

The one description from which the page, the previews in the Dagster UI and Grafana are made. How something is drawn in
one of them does not belong here, and nothing here computes an indicator: the views do.

The SQL is Athena's with five blanks that a surface fills in by `Panel.statement`:

    :tickers, :locations   one or more quoted values: `ticker IN (:tickers)`
    :days(column)          a condition that holds for the DATE column's days in the range that is shown
    :today                 the day in New York, a DATE
    :expected_session      the newest session that should be there, a DATE
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from stock_weather_pipeline.datasets import PARTITIONED, STOCK_PRICES, WEATHER
from stock_weather_pipeline.datasets.contract import ColumnType
from stock_weather_pipeline.lake.layout import Layer, external_table, partition_day_sql


class Chart(Enum):
    """How a panel is drawn."""

    CANDLES = "candles"
    LINES = "lines"
    BARS = "bars"
    BARS_BY_SIGN = "bars by sign"
    MACD = "lines with a histogram"
    CALENDAR = "calendar"
    BAND = "band"
    SCATTER = "scatter"
    STATS = "stats"
    TABLE = "table"
    MARKERS = "markers"


class Section(Enum):
    """Where a panel belongs, in the order of the sections."""

    STOCKS = "Stocks"
    WEATHER = "Weather"
    STOCK_WEATHER = "Stock against weather"
    HEALTH = "Pipeline health"


class Level(Enum):
    """What a value means for the reader."""

    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"


@dataclass(frozen=True)
class Field:
    """A column of a panel's result. `label` names it with its parameters, such as SMA 7; `unit` is empty for none."""

    name: str
    type: ColumnType
    label: str
    unit: str = ""


@dataclass(frozen=True)
class Threshold:
    """From `value` on, included, `field` means `level`."""

    field: str
    value: float
    level: Level


@dataclass(frozen=True)
class Panel:
    """One panel. `fields` are the result's columns, in order; `time` is the one that is the horizontal axis, if any.

    A panel of `per` (ticker or location) has that as its first column and a row order by it and `time`. `reads` are
    tables that exist in one deployment only; where one is missing, the panel is left out.
    """

    name: str
    title: str
    question: str
    section: Section
    chart: Chart
    sql: str
    fields: tuple[Field, ...]
    time: str | None = None
    per: str | None = None
    thresholds: tuple[Threshold, ...] = ()
    reads: tuple[str, ...] = ()

    def statement(
        self,
        *,
        tickers: str = "",
        locations: str = "",
        days: Callable[[str], str],
        today: str = "",
        expected_session: str = "",
    ) -> str:
        """The SQL with its blanks filled by SQL text; `days` makes the condition for a column's name.

        Raises ValueError when a blank of this panel is given no text.
        """
        texts = {"tickers": tickers, "locations": locations, "today": today, "expected_session": expected_session}

        def filled(match: re.Match[str]) -> str:
            name, column = match["name"], match["column"]
            text = days(column) if column else texts[name]
            if not text:
                raise ValueError(f"the panel {self.name} needs {name}")
            return text

        return _BLANK.sub(filled, self.sql)


_BLANK = re.compile(r":(?P<name>tickers|locations|today|expected_session|days\((?P<column>[a-z_]+)\))")

TODAY_SQL = "CAST(at_timezone(now(), 'America/New_York') AS DATE)"
EXPECTED_SESSION_SQL = (
    f"date_add('day', CASE day_of_week({TODAY_SQL}) WHEN 1 THEN -3 WHEN 7 THEN -2 ELSE -1 END, {TODAY_SQL})"
)
"""For surfaces without the trading calendar: the newest weekday that has closed, so that a holiday counts as missing
until the session after it."""


def _field(name: str, label: str, unit: str = "", kind: ColumnType = ColumnType.DOUBLE) -> Field:
    return Field(name, kind, label, unit)


def _text(name: str, label: str) -> Field:
    return Field(name, ColumnType.STRING, label)


def _day(name: str, label: str) -> Field:
    return Field(name, ColumnType.DATE, label)


def _count(name: str, label: str, unit: str) -> Field:
    return Field(name, ColumnType.BIGINT, label, unit)


_TICKER = _text("ticker", "Ticker")
_SESSION = _day("trade_date", "Session")
_LOCATION = _text("location", "Location")
_LOCAL_DAY = _day("local_date", "Day")


def _of_ticker(name: str, title: str, question: str, chart: Chart, view: str, *fields: Field) -> Panel:
    columns = ", ".join(field.name for field in (_TICKER, _SESSION, *fields))
    return Panel(
        name=name,
        title=title,
        question=question,
        section=Section.STOCKS,
        chart=chart,
        sql=f"SELECT {columns} FROM {view} WHERE ticker IN (:tickers) AND :days(trade_date) "
        "ORDER BY ticker, trade_date",
        fields=(_TICKER, _SESSION, *fields),
        time="trade_date",
        per="ticker",
    )


def _of_location(name: str, title: str, question: str, chart: Chart, *fields: Field) -> Panel:
    columns = ", ".join(field.name for field in (_LOCATION, _LOCAL_DAY, *fields))
    return Panel(
        name=name,
        title=title,
        question=question,
        section=Section.WEATHER,
        chart=chart,
        sql=f"SELECT {columns} FROM weather_daily WHERE location IN (:locations) AND :days(local_date) "
        "ORDER BY location, local_date",
        fields=(_LOCATION, _LOCAL_DAY, *fields),
        time="local_date",
        per="location",
    )


_STOCKS = (
    _of_ticker(
        "price",
        "Price",
        "What did a share cost on each session, in today's shares?",
        Chart.CANDLES,
        "stock_prices_adjusted",
        _field("open", "Open", "USD"),
        _field("high", "High", "USD"),
        _field("low", "Low", "USD"),
        _field("close", "Close", "USD"),
    ),
    Panel(
        name="splits",
        title="Splits",
        question="When was a share split? Prices before it are adjusted.",
        section=Section.STOCKS,
        chart=Chart.MARKERS,
        sql="SELECT ticker, execution_date, split_from, split_to FROM stock_splits WHERE ticker IN (:tickers) "
        "AND :days(execution_date) ORDER BY ticker, execution_date",
        fields=(
            _TICKER,
            _day("execution_date", "First session after the split"),
            _field("split_from", "Shares before", "shares"),
            _field("split_to", "Shares after", "shares"),
        ),
        time="execution_date",
        per="ticker",
    ),
    _of_ticker(
        "moving_averages",
        "Moving averages",
        "Where does the trend point, over 7 and over 30 sessions?",
        Chart.LINES,
        "moving_averages",
        _field("sma_7", "SMA 7", "USD"),
        _field("sma_30", "SMA 30", "USD"),
    ),
    _of_ticker(
        "bollinger_bands",
        "Bollinger Bands",
        "Is the price far from its mean of 20 sessions, measured in two standard deviations?",
        Chart.BAND,
        "bollinger_bands",
        _field("lower_band", "BB 20, 2 lower", "USD"),
        _field("middle_band", "BB 20, 2 middle", "USD"),
        _field("upper_band", "BB 20, 2 upper", "USD"),
    ),
    _of_ticker(
        "volume",
        "Volume",
        "How many shares changed hands on each session?",
        Chart.BARS,
        "stock_prices_adjusted",
        _field("volume", "Volume", "shares"),
    ),
    _of_ticker(
        "daily_change",
        "Daily change",
        "How much did the close move from one session to the next?",
        Chart.BARS_BY_SIGN,
        "daily_change",
        _field("change_pct", "Change", "%"),
    ),
    _of_ticker(
        "macd",
        "MACD",
        "Does the momentum of the price turn?",
        Chart.MACD,
        "macd",
        _field("macd", "MACD 12, 26", "USD"),
        _field("signal", "Signal 9", "USD"),
        _field("histogram", "Histogram", "USD"),
    ),
    _of_ticker(
        "volatility",
        "Daily volatility",
        "On which days did the price move most, from low to high as a share of the close?",
        Chart.CALENDAR,
        "volatility",
        _field("range_pct", "Range of the day", "%"),
        _field("volatility_20", "Volatility 20, per year", "fraction"),
    ),
)

_WEATHER = (
    _of_location(
        "temperature",
        "Temperature range",
        "How cold and how warm did each day get?",
        Chart.BAND,
        _field("temperature_min_c", "Lowest", "°C"),
        _field("temperature_mean_c", "Mean", "°C"),
        _field("temperature_max_c", "Highest", "°C"),
    ),
    _of_location(
        "precipitation",
        "Precipitation",
        "How much rain and snow fell on each day?",
        Chart.BARS,
        _field("precipitation_mm", "Precipitation", "mm"),
    ),
)

_PAIRED = (
    "FROM stock_weather WHERE ticker IN (:tickers) AND location IN (:locations) AND :days(trade_date) "
    "AND change_pct IS NOT NULL AND temperature_mean_c IS NOT NULL"
)
# Fisher's z: atanh(r) is near normal with deviation 1 / sqrt(n - 3); tanh leads back.
_FISHER = "5e-1 * ln((1 + r) / (1 - r))"
_TWO_SIDED_95 = "1.959963984540054e0"


def _bound(sign: str) -> str:
    z = f"({_FISHER} {sign} {_TWO_SIDED_95} / sqrt(n - 3))"
    return f"CASE WHEN n > 3 AND abs(r) < 1 THEN (exp(2 * {z}) - 1) / (exp(2 * {z}) + 1) END"


_STOCK_WEATHER = (
    Panel(
        name="stock_weather",
        title="Daily change against temperature",
        question="Do sessions on warm days go otherwise than sessions on cold days?",
        section=Section.STOCK_WEATHER,
        chart=Chart.SCATTER,
        sql=f"SELECT ticker, location, trade_date, temperature_mean_c, change_pct {_PAIRED} "
        "ORDER BY ticker, location, trade_date",
        fields=(
            _TICKER,
            _LOCATION,
            _SESSION,
            _field("temperature_mean_c", "Mean temperature", "°C"),
            _field("change_pct", "Change", "%"),
        ),
        per="ticker",
    ),
    Panel(
        name="stock_weather_correlation",
        title="Correlation of daily change and temperature",
        question="How strongly do the two move together, and how sure is that? Correlation is not cause.",
        section=Section.STOCK_WEATHER,
        chart=Chart.STATS,
        sql=f"SELECT ticker, location, n, r, {_bound('-')} AS r_low, {_bound('+')} AS r_high FROM ("
        f"SELECT ticker, location, count(*) AS n, corr(change_pct, temperature_mean_c) AS r {_PAIRED} "
        "GROUP BY ticker, location) ORDER BY ticker, location",
        fields=(
            _TICKER,
            _LOCATION,
            _count("n", "Sessions with both, n", "sessions"),
            _field("r", "Pearson's r"),
            _field("r_low", "95 % interval, from"),
            _field("r_high", "95 % interval, to"),
        ),
        per="ticker",
    ),
)

_PER_DATASET = {STOCK_PRICES.name: "stock_rows", WEATHER.name: "weather_rows"}


def _rows_of_day() -> str:
    parts = []
    for dataset in PARTITIONED:
        amounts = ", ".join(
            f"{'count(*)' if name == dataset.name else 'CAST(NULL AS BIGINT)'} AS {column}"
            for name, column in _PER_DATASET.items()
        )
        parts.append(
            f"SELECT day, {amounts} FROM (SELECT {dataset.day_sql} AS day FROM {dataset.name}) "
            "WHERE :days(day) GROUP BY day"
        )
    sums = ", ".join(f"sum({column}) AS {column}" for column in _PER_DATASET.values())
    return f"SELECT day, {sums} FROM ({' UNION ALL '.join(parts)}) GROUP BY day ORDER BY day"


def _set_aside() -> str:
    parts = " UNION ALL ".join(
        f"SELECT '{dataset.name}' AS dataset, reason, {partition_day_sql(dataset)} AS day "
        f"FROM {external_table(dataset, Layer.QUARANTINE).qualified_name}"
        for dataset in PARTITIONED
    )
    return (
        "SELECT dataset, reason, count(*) AS row_count, min(day) AS first_day, max(day) AS last_day "
        f"FROM ({parts}) WHERE :days(day) GROUP BY dataset, reason ORDER BY row_count DESC, dataset, reason"
    )


def _publishes() -> str:
    # A publish is up to two snapshots, a delete and an append. A compaction repeats the summary of the publish whose
    # rows it holds and says when that was; it is none itself.
    parts = " UNION ALL ".join(
        f"SELECT '{dataset.name}' AS dataset, committed_at, element_at(summary, 'publish-id') AS publish, "
        "element_at(summary, 'days') AS days, "
        "CAST(element_at(summary, 'added-records') AS BIGINT) AS added, "
        "CAST(element_at(summary, 'deleted-records') AS BIGINT) AS deleted "
        f"FROM \"{dataset.name}$snapshots\" WHERE element_at(summary, 'published-at-ms') IS NULL"
        for dataset in PARTITIONED
    )
    return (
        "SELECT * FROM (SELECT CAST(at_timezone(max(committed_at), 'UTC') AS TIMESTAMP) AS published_at, dataset, "
        "max(days) AS days, coalesce(sum(added), 0) AS rows_added, coalesce(sum(deleted), 0) AS rows_deleted, "
        f"CAST(at_timezone(max(committed_at), 'America/New_York') AS DATE) AS day FROM ({parts}) "
        "GROUP BY dataset, publish) WHERE :days(day) ORDER BY published_at DESC, dataset LIMIT 200"
    )


_HEALTH = (
    Panel(
        name="newest_session",
        title="Newest session against expected",
        question="Is the newest session there?",
        section=Section.HEALTH,
        chart=Chart.STATS,
        sql="SELECT newest_session, expected_session, date_diff('day', newest_session, expected_session) "
        "AS days_behind FROM (SELECT max(trade_date) AS newest_session, :expected_session AS expected_session "
        "FROM stock_prices)",
        fields=(
            _day("newest_session", "Newest session"),
            _day("expected_session", "Expected"),
            _count("days_behind", "Calendar days behind", "days"),
        ),
        thresholds=(Threshold("days_behind", 1, Level.WARNING), Threshold("days_behind", 4, Level.BAD)),
    ),
    Panel(
        name="rows_per_day",
        title="Rows per day",
        question="Did every day bring as many rows as its neighbours?",
        section=Section.HEALTH,
        chart=Chart.BARS,
        sql=_rows_of_day(),
        fields=(
            _day("day", "Day"),
            _count("stock_rows", "Stock prices", "rows"),
            _count("weather_rows", "Weather", "rows"),
        ),
        time="day",
    ),
    Panel(
        name="quarantined",
        title="Quarantined rows by reason",
        question="Which rows were set aside, and why?",
        section=Section.HEALTH,
        chart=Chart.TABLE,
        sql=_set_aside(),
        fields=(
            _text("dataset", "Dataset"),
            _text("reason", "Reason"),
            _count("row_count", "Rows", "rows"),
            _day("first_day", "First day"),
            _day("last_day", "Last day"),
        ),
        thresholds=(Threshold("row_count", 1, Level.WARNING),),
    ),
    Panel(
        name="failed_checks",
        title="Failed checks",
        question="Which days were held back by their audit, and why?",
        section=Section.HEALTH,
        chart=Chart.TABLE,
        sql="SELECT day, dataset, check_name, expected, actual FROM audits WHERE NOT passed AND :days(day) "
        "ORDER BY day DESC, dataset, check_name LIMIT 200",
        fields=(
            _day("day", "Day"),
            _text("dataset", "Dataset"),
            _text("check_name", "Check"),
            _text("expected", "Expected"),
            _text("actual", "Found"),
        ),
    ),
    Panel(
        name="failed_check_count",
        title="Failed checks",
        question="How many checks on the days shown failed?",
        section=Section.HEALTH,
        chart=Chart.STATS,
        sql="SELECT count_if(NOT passed) AS failed, count(*) AS checked FROM audits WHERE :days(day)",
        fields=(_count("failed", "Failed", "checks"), _count("checked", "Checked", "checks")),
        thresholds=(Threshold("failed", 1, Level.BAD),),
    ),
    Panel(
        name="publish_history",
        title="Publish history",
        question="What was published when, and how much did it change?",
        section=Section.HEALTH,
        chart=Chart.TABLE,
        sql=_publishes(),
        fields=(
            Field("published_at", ColumnType.TIMESTAMP, "Published (UTC)"),
            _text("dataset", "Table"),
            _text("days", "Days"),
            _count("rows_added", "Rows written", "rows"),
            _count("rows_deleted", "Rows replaced", "rows"),
            _day("day", "Day in New York"),
        ),
    ),
)

PANELS: dict[str, Panel] = {panel.name: panel for panel in (*_STOCKS, *_WEATHER, *_STOCK_WEATHER, *_HEALTH)}
"""Every panel by its name, in the order in which they are shown."""
