"""What the page shows: the answer of every panel for some tickers and days, with what is missing or failed said.

Nothing is computed here: an answer is what the SQL of its panel gave.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

from stock_weather_pipeline.dashboard.panels import PANELS, Section
from stock_weather_pipeline.dashboard.together import Question
from stock_weather_pipeline.dashboard.together import answers as together
from stock_weather_pipeline.datasets import LOCATIONS, STOCK_PRICES, WEATHER
from stock_weather_pipeline.errors import LakeError, UsageError
from stock_weather_pipeline.lake.interfaces import Lake
from stock_weather_pipeline.lake.layout import PROD_DATABASE, text_list
from stock_weather_pipeline.lake.opening import is_simulated
from stock_weather_pipeline.partitions import PartitionSet, last_closed_day, sessions, today

if TYPE_CHECKING:
    import pyarrow as pa

MOST_TICKERS = 50
"""How many tickers a page holds when none are named; with more in the table, those with the highest turnover."""

TOGETHER = ({Section.STOCKS}, {Section.WEATHER, Section.STOCK_WEATHER}, {Section.HEALTH})
"""Sections whose panels are asked in one query. Athena limits its stages to 150, and a panel takes up to twelve."""

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
    there = _there(lake)
    chosen = _chosen(there.tickers, tickers)
    newest = max((day for day in (there.newest_session, there.newest_weather_day) if day), default=None)
    first_day = start or (_years_before(newest) if newest else None)
    return DashboardData(
        answers=_answers(lake, chosen, there.locations, first_day, end),
        tickers=tuple(chosen),
        more_tickers=0 if tickers else len(there.tickers) - len(chosen),
        locations=there.locations,
        first_day=first_day,
        newest_session=there.newest_session,
        newest_weather_day=there.newest_weather_day,
        sessions_after=tuple(sessions(there.newest_session, there.newest_session + _CALENDAR_AHEAD)[1:])
        if there.newest_session
        else (),
        simulated=is_simulated(lake),
    )


@dataclass(frozen=True)
class _There:
    """What is published. `tickers` are all there are, those with the highest turnover in the newest session first."""

    tickers: tuple[str, ...]
    locations: tuple[str, ...]
    newest_session: date | None
    newest_weather_day: date | None


def _there(lake: Lake) -> _There:
    """Asked in one query."""
    parts = {
        STOCK_PRICES: "SELECT ticker AS name, max(trade_date) AS day, max_by(close * volume, trade_date) AS turnover "
        f"FROM {STOCK_PRICES.name} GROUP BY ticker",
        WEATHER: f"SELECT NULL AS name, max({WEATHER.day_sql}) AS day, NULL AS turnover FROM {WEATHER.name}",
        LOCATIONS: f"SELECT location AS name, NULL AS day, NULL AS turnover FROM {LOCATIONS.name}",
    }
    statements = [
        f"SELECT '{dataset.name}' AS dataset, CAST(name AS VARCHAR) AS name, CAST(day AS DATE) AS day, "
        f"CAST(turnover AS DOUBLE) AS turnover FROM ({sql})"
        for dataset, sql in parts.items()
        if lake.tables.exists(dataset.name)
    ]
    rows = lake.rows(" UNION ALL ".join(statements)) if statements else []
    stocks, weather, places = ([row for row in rows if row["dataset"] == dataset.name] for dataset in parts)
    newest: date | None = max((row["day"] for row in stocks), default=None)
    turnover = {row["name"]: row["turnover"] if row["day"] == newest else 0.0 for row in stocks}
    return _There(
        tickers=tuple(sorted(turnover, key=lambda ticker: (-turnover[ticker], ticker))),
        locations=tuple(sorted(row["name"] for row in places)),
        newest_session=newest,
        newest_weather_day=weather[0]["day"] if weather else None,
    )


def _answers(
    lake: Lake, tickers: Sequence[str], locations: Sequence[str], start: date | None, end: date | None
) -> dict[str, Answer]:
    """What comes of every panel; those of some sections are asked together."""
    if start is None:
        return dict.fromkeys(PANELS, Answer(missing="Nothing is published yet."))
    found: dict[str, Answer] = {}
    questions: list[dict[str, Question]] = [{} for _ in TOGETHER]
    known: dict[tuple[str | None, str], bool] = {}
    for name, panel in PANELS.items():
        sql = panel.statement(
            tickers=_quoted(tickers),
            locations=_quoted(locations),
            days=lambda column: f"{column} >= DATE '{start}'" + (f" AND {column} <= DATE '{end}'" if end else ""),
            today=f"DATE '{today()}'",
            expected_session=f"DATE '{last_closed_day(PartitionSet.SESSIONS)}'",
        )
        absent = _absent(lake, sql, known)
        if absent:
            found[name] = Answer(missing=f"{', '.join(absent)} is not published yet.")
        else:
            number = next(n for n, sections in enumerate(TOGETHER) if panel.section in sections)
            questions[number][name] = Question(panel, sql)
    for asked_together in questions:
        found.update(_asked(lake, asked_together))
    return {name: found[name] for name in PANELS}


def _asked(lake: Lake, questions: Mapping[str, Question]) -> dict[str, Answer]:
    if len(questions) > 1:
        # One that fails fails all of them: then each is asked alone, so that it is known which.
        with suppress(LakeError):
            return {name: Answer(rows=rows) for name, rows in together(lake, questions).items()}
    return {name: _asked_alone(lake, question) for name, question in questions.items()}


def _asked_alone(lake: Lake, question: Question) -> Answer:
    try:
        return Answer(rows=lake.engine.query(question.sql))
    except LakeError as error:
        return Answer(failed=str(error))


def _absent(lake: Lake, statement: str, known: dict[tuple[str | None, str], bool]) -> list[str]:
    """The tables and views of a statement that do not exist. `known` are those that were looked for before."""
    from stock_weather_pipeline.lake.dialect import parse, table_references

    absent = []
    for database, written in table_references(parse(statement)):
        name = written.removesuffix("$snapshots")
        prod = (database or PROD_DATABASE) == PROD_DATABASE
        if (database, name) not in known:
            known[database, name] = (
                lake.tables.exists(name) or lake.catalog.get_view(name) is not None
                if prod
                else lake.catalog.get_table(str(database), name) is not None
            )
        if not known[database, name]:
            absent.append(name if prod else f"{database}.{name}")
    return absent


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
    return text_list(values) or "CAST(NULL AS VARCHAR)"


def _years_before(day: date) -> date:
    return day.replace(year=day.year - _YEARS_SHOWN, day=min(day.day, 28))
