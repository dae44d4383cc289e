from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import pytest

from stock_weather_pipeline.assets import catalog
from stock_weather_pipeline.automation.running import Outcome, Runner
from stock_weather_pipeline.automation.work import Work
from stock_weather_pipeline.datasets import LOCATIONS, WEATHER
from stock_weather_pipeline.definitions import build_definitions
from stock_weather_pipeline.sandbox import Sandbox
from stock_weather_pipeline_tests.homes import Home

DAYS = [date(2024, 6, 3), date(2024, 6, 4)]


def a_bug(*_: object) -> None:
    raise KeyError("nothing")


@dataclass
class Notes:
    """A watcher that writes everything down."""

    fetched: list[Work] = field(default_factory=list)
    runs: list[tuple[str, int]] = field(default_factory=list)
    steps: list[list[str]] = field(default_factory=list)

    def fetching(self, work: Work) -> None:
        self.fetched.append(work)

    def started(self, what: str, steps: int) -> None:
        self.runs.append((what, steps))
        self.steps.append([])

    def step_done(self, step: str) -> None:
        self.steps[-1].append(step)


def complete(home: Home, notes: Notes, *, again: bool = False) -> Outcome:
    outcome = Outcome()
    with home.opened() as (settings, lake, instance):
        runner = Runner(build_definitions(settings), instance, lake, notes)
        runner.refresh_references(Outcome(), [LOCATIONS.name], again=False)
        notes.runs.clear()
        notes.steps.clear()
        runner.complete(outcome, WEATHER, DAYS, None, again=again, force=False)
    return outcome


def test_the_watcher_knows_the_number_of_steps_from_the_start_and_hears_of_each(
    tmp_path: Path, vendor: Sandbox
) -> None:
    notes = Notes()
    outcome = complete(Home(tmp_path, vendor.url), notes)
    assert (len(outcome.succeeded), outcome.failed) == (1, {})
    ((what, steps),) = notes.runs
    assert what == "weather 2024-06-03..2024-06-04, every layer"
    assert len(notes.steps[0]) == steps == len(set(notes.steps[0]))
    assert {"raw/weather", "catalog/weather", "parquet/weather", "prod/weather", "views/weather_daily"} < set(
        notes.steps[0]
    )
    assert [work.days for work in notes.fetched] == [tuple(DAYS)]


def test_a_bug_in_a_step_is_called_unexpected_and_the_next_round_resumes_where_it_stopped(
    tmp_path: Path, vendor: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, notes = Home(tmp_path, vendor.url), Notes()
    with monkeypatch.context() as broken:
        broken.setattr(catalog, "register", a_bug)
        outcome = complete(home, notes)
    # From raw, then once more from where it stopped; not for ever.
    assert list(outcome.failed.values()) == [["catalog/weather: unexpected KeyError: 'nothing'"]] * 2
    assert [what for what, _ in notes.runs] == [
        "weather 2024-06-03..2024-06-04, every layer",
        "weather 2024-06-03..2024-06-04, from catalog on",
    ]
    outcome = complete(home, notes)
    assert (len(outcome.succeeded), outcome.failed) == (1, {})
    assert notes.runs[-1][0] == "weather 2024-06-03..2024-06-04, from catalog on"


def test_an_interrupt_stops_everything_and_what_was_finished_is_kept(
    tmp_path: Path, vendor: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    home, notes = Home(tmp_path, vendor.url), Notes()
    with monkeypatch.context() as stopped:
        stopped.setattr(catalog, "register", interrupted)
        result = home.invoke("run", "--only", "weather", "--start", "2024-06-03", "--end", "2024-06-04")
    assert result.exit_code == 1
    assert "Stopped. What was finished is kept; the same command goes on from there." in result.stderr
    assert home.materialized("raw", "weather") == {"2024-06-03", "2024-06-04"}
    complete(home, notes)
    assert [what for what, _ in notes.runs] == ["weather 2024-06-03..2024-06-04, from catalog on"]
