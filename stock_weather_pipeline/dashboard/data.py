"""What the page shows: the answer of every panel for some tickers and days, with what is missing or failed said.

Nothing is computed here: an answer is what the SQL of its panel gave.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

from stock_weather_pipeline.dashboard.panels import PANELS, Panel
from stock_weather_pipeline.datasets import LOCATIONS, STOCK_PRICES, WEATHER
from stock_weather_pipeline.errors import LakeError, UsageError
from stock_weather_pipeline.lake.interfaces import Lake
from stock_weather_pipeline.lake.layout import PROD_DATABASE
from stock_weather_pipeline.lake.opening import is_simulated
from stock_weather_pipeline.partitions import PartitionSet, last_closed_day, sessions, today

if TYPE_CHECKING:
    import pyarrow as pa

MOST_TICKERS = 50
"""How many tickers a page holds when none are named; with more in the table, those with the highest turnover."""

_YEARS_SHOWN = 5
# So that the page knows, long after it was written, which sessions have closed since.
_CALENDAR_AHEAD = timedelta(days=400)


@dataclass(frozen=True)
class Answer:
    """What came of a panel: its rows, or why there are none. `missing` is no fault: nothing is published yet."""

    rows: pa.Table | None = None
    missing: str = ""
    failed: str = ""


@dataclass(frozen=True)
class DashboardData:
    """Everything on the page. `sessions_after` are the sessions to come after the newest one that is there."""

    answers: dict[str, Answer]
    tickers: tuple[str, ...]
    more_tickers: int
    locations: tuple[str, ...]
    first_day: date | None
    newest_session: date | None
    newest_weather_day: date | None
    sessions_after: tuple[date, ...]
    simulated: bool

    @property
    def failed(self) -> dict[str, str]:
        """Why, for each panel that could not be made."""
        return {name: answer.failed for name, answer in self.answers.items() if answer.failed}


def read(
    lake: Lake, tickers: Sequence[str] | None = None, start: date | None = None, end: date | None = None
) -> DashboardData:
    """Ask every panel. Without tickers all of the table are taken; without a start, five years up to the newest day.

    Raises UsageError for a named ticker without a row. A panel that fails is told in its answer.
    """
    newest_session = _newest(lake, STOCK_PRICES.name, "trade_date")
    newest_weather_day = _newest(lake, WEATHER.name, WEATHER.day_sql or "")
    known = _tickers_by_turnover(lake, newest_session) if newest_session else []
    chosen = _chosen(known, tickers)
    locations = (
        [row["location"] for row in lake.rows(f"SELECT location FROM {LOCATIONS.name} ORDER BY location")]
        if (lake.tables.exists(LOCATIONS.name))
        else []
    )
    newest = max((day for day in (newest_session, newest_weather_day) if day), default=None)
    first_day = start or (_years_before(newest) if newest else None)
    return DashboardData(
        answers={name: _answer(lake, panel, chosen, locations, first_day, end) for name, panel in PANELS.items()},
        tickers=tuple(chosen),
        more_tickers=0 if tickers else len(known) - len(chosen),
        locations=tuple(locations),
        first_day=first_day,
        newest_session=newest_session,
        newest_weather_day=newest_weather_day,
        sessions_after=tuple(sessions(newest_session, newest_session + _CALENDAR_AHEAD)[1:]) if newest_session else (),
        simulated=is_simulated(lake),
    )


def _answer(
    lake: Lake, panel: Panel, tickers: Sequence[str], locations: Sequence[str], start: date | None, end: date | None
) -> Answer:
    if start is None:
        return Answer(missing="Nothing is published yet.")
    statement = panel.statement(
        tickers=_quoted(tickers),
        locations=_quoted(locations),
        days=lambda column: f"{column} >= DATE '{start}'" + (f" AND {column} <= DATE '{end}'" if end else ""),
        today=f"DATE '{today()}'",
        expected_session=f"DATE '{last_closed_day(PartitionSet.SESSIONS)}'",
    )
    absent = _absent(lake, statement)
    if absent:
        return Answer(missing=f"{', '.join(absent)} is not published yet.")
    try:
        return Answer(rows=lake.engine.query(statement))
    except LakeError as error:
        return Answer(failed=str(error))


def _absent(lake: Lake, statement: str) -> list[str]:
    """The tables and views of a statement that do not exist."""
    from stock_weather_pipeline.lake.dialect import parse, table_references

    absent = []
    for database, written in table_references(parse(statement)):
        name = written.removesuffix("$snapshots")
        prod = (database or PROD_DATABASE) == PROD_DATABASE
        there = (
            lake.tables.exists(name) or lake.catalog.get_view(name) is not None
            if prod
            else lake.catalog.get_table(str(database), name) is not None
        )
        if not there:
            absent.append(name if prod else f"{database}.{name}")
    return absent


def _newest(lake: Lake, table: str, day_sql: str) -> date | None:
    if not lake.tables.exists(table):
        return None
    (row,) = lake.rows(f"SELECT max({day_sql}) AS day FROM {table}")
    newest: date | None = row["day"]
    return newest


def _tickers_by_turnover(lake: Lake, newest: date) -> list[str]:
    """Every ticker of the table, those with the highest turnover in the newest session first."""
    rows = lake.rows(
        f"SELECT ticker, max(CASE WHEN trade_date = DATE '{newest}' THEN close * volume ELSE 0e0 END) AS turnover "
        f"FROM {STOCK_PRICES.name} GROUP BY ticker ORDER BY turnover DESC, ticker"
    )
    return [row["ticker"] for row in rows]


def _chosen(known: Sequence[str], named: Sequence[str] | None) -> list[str]:
    if named is None:
        return sorted(known[:MOST_TICKERS])
    unknown = [ticker for ticker in named if ticker not in known]
    if unknown:
        there = f"there are {', '.join(sorted(known)[:10])}" if known else "nothing is published yet"
        raise UsageError(f"There are no prices of {', '.join(unknown)}: {there}.")
    return list(named)


def _quoted(values: Sequence[str]) -> str:
    """SQL texts for an IN list; one that nothing equals when there are none."""
    return ", ".join("'" + value.replace("'", "''") + "'" for value in values) or "CAST(NULL AS VARCHAR)"


def _years_before(day: date) -> date:
    return day.replace(year=day.year - _YEARS_SHOWN, day=min(day.day, 28))
