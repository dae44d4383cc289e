"""`stock-weather run`: what is missing is materialized, with progress, and a table says what is there afterwards."""

from __future__ import annotations

from datetime import date
from math import ceil
from types import TracebackType
from typing import TYPE_CHECKING

from stock_weather_pipeline.automation.work import Work
from stock_weather_pipeline.commands import capacity
from stock_weather_pipeline.commands.output import banner, program, say_undone, status_table
from stock_weather_pipeline.datasets import LOCATIONS, STOCK_PRICES, STOCK_SPLITS, WEATHER, Dataset
from stock_weather_pipeline.errors import UsageError
from stock_weather_pipeline.partitions import ONE_DAY, requested_days, today
from stock_weather_pipeline.settings import Settings

if TYPE_CHECKING:
    from rich.console import Console

    from stock_weather_pipeline.automation.running import Outcome
    from stock_weather_pipeline.sources.vendors import Vendors
    from stock_weather_pipeline.status import DatasetStatus

_YEARS_BACK = 2
# Shorter waits need no announcement.
_LONG_MINUTES = 1.0


def run(
    console: Console,
    settings: Settings,
    start: date | None,
    end: date | None,
    only: str | None,
    *,
    again: bool,
    force: bool,
) -> int:
    """Returns the exit code: 1 when a run failed or a check of severity ERROR did."""
    days = _days(settings, start, end, only)
    from stock_weather_pipeline.automation.instance import fail_abandoned_runs, open_instance
    from stock_weather_pipeline.automation.running import Outcome, Runner
    from stock_weather_pipeline.cloud.vendors import open_vendors
    from stock_weather_pipeline.definitions import build_definitions
    from stock_weather_pipeline.lake.opening import is_simulated, open_lake
    from stock_weather_pipeline.status import dataset_statuses, view_checks

    banner(console, settings.simulated)
    lake = open_lake(settings)
    with open_instance(settings) as instance, open_vendors(settings) as vendors:
        fail_abandoned_runs(instance)
        outcome = Outcome()
        with _Progress(console, vendors) as progress:
            definitions = build_definitions(settings, vendors.following(progress.called), lake)
            runner = Runner(definitions, instance, lake, progress)
            references = [LOCATIONS, *([STOCK_SPLITS] if STOCK_PRICES in days else [])]
            runner.refresh_references(outcome, [dataset.name for dataset in references], again)
            for dataset, wanted in days.items():
                runner.complete(outcome, dataset, wanted, vendors.entities(dataset), again=again, force=force)
            if outcome.runs:
                runner.refresh_page(outcome)
        check_keys = definitions.resolve_asset_graph().asset_check_keys
        statuses = dataset_statuses(instance, lake, [*days, *references], check_keys)
        views = view_checks(instance, check_keys)
    status_table(console, statuses, views, is_simulated(lake))
    failed_checks = [*views.failed, *(sentence for item in statuses for sentence in item.checks.failed)]
    _say(console, settings, outcome, statuses, failed_checks)
    return 1 if outcome.failed or failed_checks else 0


def _days(settings: Settings, start: date | None, end: date | None, only: str | None) -> dict[Dataset, list[date]]:
    """The days of each dataset to be complete, weather first: a view of the sessions joins it."""
    last = end or today() - ONE_DAY
    two_years_back = last.replace(year=last.year - _YEARS_BACK, day=min(last.day, 28))
    # Not after the last day: an end before the first partition is to be called that, not a reversed range.
    first = start or min(last, max(settings.start_date, two_years_back))
    days: dict[Dataset, list[date]] = {}
    for dataset, word in ((WEATHER, "weather"), (STOCK_PRICES, "stocks")):
        if only in (None, word) and dataset.partition_set is not None:
            days[dataset] = requested_days(dataset.partition_set, first, last, settings.start_date)
    if not days:
        raise UsageError("Nothing to run.")
    return days


class _Progress:
    """Two bars in a terminal, vendor calls and steps of the current run; elsewhere one line per run."""

    def __init__(self, console: Console, vendors: Vendors) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self._vendors = vendors
        self._console = console
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._steps = self._bar.add_task("starting", total=None)
        self._calls = self._bar.add_task("", total=None, visible=False)

    def __enter__(self) -> _Progress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def fetching(self, work: Work) -> None:
        """Shows the plan before a long backfill, and says what of it does not fit on this machine."""
        plan = self._vendors.range_source(work.dataset, work.entities).plan(work.days)
        if plan.minutes > _LONG_MINUTES:
            self._console.print(
                f"{work.dataset.name}: {plan.description}, about {ceil(plan.minutes)} minutes at this quota. "
                "Ctrl-C stops; what came until then is kept.",
                soft_wrap=True,
            )
        entities = self._vendors.entities(work.dataset, work.entities)
        settings = self._vendors.settings
        rows_per_day = capacity.MARKET_TICKERS if entities is None else len(entities)
        needed = capacity.need(work, plan, rows_per_day, lake_is_here=settings.deployment == "local")
        for sentence in capacity.warnings(work, needed, capacity.room(settings.data_home)):
            self._console.print("[bold yellow]warning[/]", sentence, soft_wrap=True)

    def started(self, what: str, steps: int) -> None:
        self._console.print(what, style="dim", soft_wrap=True)
        self._bar.reset(self._steps, total=steps, description="starting")
        self._bar.update(self._calls, visible=False)

    def step_done(self, step: str) -> None:
        self._bar.update(self._steps, advance=1, description=step)
        self._bar.update(self._calls, visible=False)

    def called(self, done: int, planned: int, what: str) -> None:
        """The progress of the vendor's calls."""
        self._bar.update(self._calls, completed=done, total=planned, description=f"fetching {what}", visible=True)


def _say(
    console: Console,
    settings: Settings,
    outcome: Outcome,
    statuses: list[DatasetStatus],
    failed_checks: list[str],
) -> None:
    from rich.markup import escape

    name = program()
    say_undone(console, statuses)
    if outcome.runs == 0 and not any(item.undone for item in statuses):
        console.print(
            "Nothing to do: every layer of every day is there. To fetch everything again: --again", soft_wrap=True
        )
    for run_id, sentences in outcome.failed.items():
        for sentence in sentences:
            console.print("[bold red]failed[/]", escape(sentence), soft_wrap=True)
        console.print(f"  run {run_id}; its log: {name} dev", style="dim", soft_wrap=True)
    for sentence in failed_checks:
        console.print("[bold red]check failed[/]", escape(sentence), soft_wrap=True)
    place = settings.data_home / "lake" if settings.deployment == "local" else f"s3://{settings.parquet_bucket}"
    console.print(f"Tables are in {place}", soft_wrap=True)
    console.print("Next:")
    for example in (
        f'{name} query "{_example(settings, statuses)}"',
        f"{name} dashboard --open       the charts",
        f"{name} status",
        f"{name} dev                     the Dagster UI on these tables",
    ):
        console.print(f"  {example}", soft_wrap=True)


def _example(settings: Settings, statuses: list[DatasetStatus]) -> str:
    if all(item.name != STOCK_PRICES.name for item in statuses):
        return "SELECT * FROM weather_daily ORDER BY local_date DESC LIMIT 5"
    ticker = "NVDA" if settings.whole_market else settings.tickers[0]
    return f"SELECT * FROM macd WHERE ticker = '{ticker}' ORDER BY trade_date DESC LIMIT 5"
