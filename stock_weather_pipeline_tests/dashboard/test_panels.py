"""The one description of the panels: it says of the tables and views what is true of them."""

from __future__ import annotations

import re
from datetime import date
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest

from stock_weather_pipeline.dashboard.panels import EXPECTED_SESSION_SQL, PANELS, TODAY_SQL, Chart, Panel, Section
from stock_weather_pipeline.dashboard.together import Question, answers
from stock_weather_pipeline.datasets.contract import Column, ColumnType
from stock_weather_pipeline.lake.layout import ExternalTable, Layer
from stock_weather_pipeline.sources.base import PARTITION_DAY
from stock_weather_pipeline_tests.homes import Home
from stock_weather_pipeline_tests.lakes import local_lake

EVERY = pytest.mark.parametrize("panel", PANELS.values(), ids=lambda panel: panel.name)
EVERYWHERE = pytest.mark.parametrize(
    "panel", [panel for panel in PANELS.values() if not panel.reads], ids=lambda panel: panel.name
)


def week(panel: Panel, first: str = "2024-06-03", last: str = "2024-06-07") -> str:
    return panel.statement(
        tickers="'NVDA'",
        locations="'New York', 'Santa Clara'",
        days=lambda column: f"{column} BETWEEN DATE '{first}' AND DATE '{last}'",
        today=TODAY_SQL,
        expected_session="DATE '2024-06-10'",
    )


@EVERYWHERE
def test_the_fields_are_the_columns_of_the_answer_with_their_types(finished: Home, panel: Panel) -> None:
    with finished.opened() as (_, lake, _instance):
        answer = lake.engine.query(week(panel))
    assert [(field.name, field.type.arrow) for field in panel.fields] == [(f.name, f.type) for f in answer.schema]


@pytest.mark.parametrize("section", Section)
def test_panels_asked_together_answer_as_each_does_alone(finished: Home, section: Section) -> None:
    chosen = {name: panel for name, panel in PANELS.items() if panel.section is section and not panel.reads}
    questions = {name: Question(panel, week(panel, "2000-01-01", "2100-01-01")) for name, panel in chosen.items()}
    with finished.opened() as (_, lake, _instance):
        together = answers(lake, questions)
        for name, question in questions.items():
            assert together[name].equals(lake.engine.query(question.sql)), name


@EVERY
def test_every_panel_is_described_for_its_reader(panel: Panel) -> None:
    assert panel.title
    assert panel.question.endswith(("?", "."))
    assert all(field.label for field in panel.fields)
    assert all(field.unit for field in panel.fields if field.type is ColumnType.BIGINT)
    names = {field.name for field in panel.fields}
    assert {threshold.field for threshold in panel.thresholds} <= names
    assert {panel.time, panel.per} - {None} <= names


@EVERYWHERE
def test_a_panel_with_a_time_axis_answers_in_its_order(finished: Home, panel: Panel) -> None:
    if panel.time is None:
        assert panel.chart in (Chart.SCATTER, Chart.STATS, Chart.TABLE)
        return
    with finished.opened() as (_, lake, _instance):
        rows = lake.rows(week(panel, "2000-01-01", "2024-06-07"))
    order = [(row[panel.per] if panel.per else "", row[panel.time]) for row in rows]
    assert rows or panel.name == "splits"
    assert all(before < after for before, after in pairwise(order))


def test_a_blank_without_a_text_is_an_error() -> None:
    with pytest.raises(ValueError, match="price needs tickers"):
        PANELS["price"].statement(days=lambda _: "TRUE")


@EVERY
def test_no_blank_is_left(panel: Panel) -> None:
    assert not re.search(r":[a-z]", week(panel))


def test_the_expected_session_is_the_weekday_before_today(finished: Home) -> None:
    def expected(today: str) -> date:
        text = EXPECTED_SESSION_SQL.replace(TODAY_SQL, f"DATE '{today}'")
        with finished.opened() as (_, lake, _instance):
            (row,) = lake.rows(f"SELECT CAST({text} AS DATE) AS day")
        found: date = row["day"]
        return found

    week_of_june = [expected(f"2024-06-{day:02}").day for day in range(10, 18)]
    assert week_of_june == [7, 10, 11, 12, 13, 14, 14, 14]


def test_the_interval_of_the_correlation_is_fishers(finished: Home) -> None:
    from math import atanh, sqrt, tanh

    with finished.opened() as (_, lake, _instance):
        (row, _) = lake.rows(week(PANELS["stock_weather_correlation"]))
    n, r = row["n"], row["r"]
    assert n == 4, "the first of five sessions has no change"
    low, high = (tanh(atanh(r) + sign * 1.959963984540054 / sqrt(n - 3)) for sign in (-1, 1))
    assert (row["r_low"], row["r_high"]) == pytest.approx((low, high), rel=1e-12)


def test_the_publish_history_is_the_tables(finished: Home) -> None:
    with finished.opened() as (_, lake, _instance):
        rows = lake.rows(week(PANELS["publish_history"], "2000-01-01", "2100-01-01"))
        publishes = [publish for name in ("stock_prices", "weather") for publish in lake.tables.history(name)]
    assert sorted(row["published_at"] for row in rows) == sorted(
        publish.committed_at.replace(tzinfo=None) for publish in publishes
    )
    assert {(row["dataset"], row["days"]) for row in rows} == {
        ("stock_prices", "2024-06-03..2024-06-07"),
        ("weather", "2024-06-03..2024-06-07"),
    }
    assert {row["rows_added"] for row in rows} == {5, 5 * 24 * 2}


def test_the_cost_of_queries_is_read_from_its_table(tmp_path: Path) -> None:
    lake = local_lake(tmp_path)
    panel = PANELS["query_costs"]
    costs = ExternalTable(
        dataset="query_costs",
        layer=Layer.PARQUET,
        columns=(Column("scanned_bytes", ColumnType.BIGINT, ""), Column("cost_usd", ColumnType.DOUBLE, "")),
        partitioned=True,
        comment="",
    )
    assert panel.reads == (costs.qualified_name,)
    lake.catalog.put_table(costs)
    day = date(2024, 6, 3)
    rows = pa.table({"scanned_bytes": [7, 5], "cost_usd": [0.5, 0.25], PARTITION_DAY: pa.array([day, day])})
    lake.engine.write(costs, rows, [day])
    answer = lake.engine.query(week(panel))
    assert [(field.name, field.type.arrow) for field in panel.fields] == [(f.name, f.type) for f in answer.schema]
    assert answer.to_pylist() == [{"day": day, "queries": 2, "scanned_bytes": 12, "cost_usd": 0.75}]
