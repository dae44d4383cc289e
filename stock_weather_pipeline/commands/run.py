"""`stock-weather run`: what is missing is materialized, with progress, and a table says what is there afterwards."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from stock_weather_pipeline.commands.output import banner, program, status_table
from stock_weather_pipeline.datasets import LOCATIONS, STOCK_PRICES, STOCK_SPLITS, WEATHER, Dataset
from stock_weather_pipeline.errors import UsageError
from stock_weather_pipeline.partitions import ONE_DAY, requested_days, today
from stock_weather_pipeline.settings import Settings

if TYPE_CHECKING:
    from rich.console import Console

    from stock_weather_pipeline.automation.running import Outcome
    from stock_weather_pipeline.lake.interfaces import Lake
    from stock_weather_pipeline.sources.vendors import Vendors

_YEARS_BACK = 2


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
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from stock_weather_pipeline.automation.instance import open_instance
    from stock_weather_pipeline.automation.running import Outcome, Runner
    from stock_weather_pipeline.definitions import build_definitions
    from stock_weather_pipeline.lake.opening import open_lake
    from stock_weather_pipeline.sources.vendors import open_vendors
    from stock_weather_pipeline.status import dataset_status, view_checks

    banner(console, settings.simulated)
    lake = open_lake(settings)
    with open_instance(settings) as instance, open_vendors(settings) as vendors:
        outcome = Outcome()
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=console, transient=not console.is_terminal) as bar:
            calls = bar.add_task("vendor calls", total=None, visible=False)
            steps = bar.add_task("starting", total=None)

            def called(done: int, planned: int, what: str) -> None:
                bar.update(calls, completed=done, total=planned, description=f"fetching {what}", visible=True)

            def stepped(done: int, planned: int, step: str) -> None:
                bar.update(steps, completed=done, total=planned, description=step.replace("__", "/"))

            definitions = build_definitions(settings, vendors=vendors.following(called))
            runner = Runner(definitions, instance, lake, settings, stepped)
            references = [LOCATIONS.name, *([STOCK_SPLITS.name] if STOCK_PRICES in days else [])]
            runner.refresh_references(outcome, references, again)
            for dataset, wanted in days.items():
                entities = vendors.entities(dataset)
                if again:
                    _show_plan(bar.console, vendors, dataset, wanted)
                    runner.repeat(outcome, dataset, wanted, force)
                runner.complete(outcome, dataset, wanted, entities, force)
        check_keys = definitions.resolve_asset_graph().asset_check_keys
        statuses = [dataset_status(instance, lake, dataset, check_keys) for dataset in (*days, STOCK_SPLITS, LOCATIONS)]
        views = view_checks(instance, check_keys)
    status_table(console, statuses, views)
    failed_checks = [*views.failed, *(sentence for item in statuses for sentence in item.checks.failed)]
    _say(console, settings, lake, outcome, failed_checks)
    banner(console, settings.simulated)
    return 1 if outcome.failed or failed_checks else 0


def _days(settings: Settings, start: date | None, end: date | None, only: str | None) -> dict[Dataset, list[date]]:
    """The days of each dataset to be complete, weather first: a view of the sessions joins it."""
    last = end or today() - ONE_DAY
    first = start or max(settings.start_date, last.replace(year=last.year - _YEARS_BACK, day=min(last.day, 28)))
    days: dict[Dataset, list[date]] = {}
    for dataset, word in ((WEATHER, "weather"), (STOCK_PRICES, "stocks")):
        if only in (None, word) and dataset.partition_set is not None:
            days[dataset] = requested_days(dataset.partition_set, first, last, settings.start_date)
    if not days:
        raise UsageError("Nothing to run.")
    return days


def _show_plan(console: Console, vendors: Vendors, dataset: Dataset, days: list[date]) -> None:
    plan = vendors.range_source(dataset).plan(days)
    minutes = "under a minute" if plan.minutes < 1 else f"about {plan.minutes:.0f} minutes"
    console.print(f"{dataset.name}: {plan.description}, {minutes} at this quota")


def _say(console: Console, settings: Settings, lake: Lake, outcome: Outcome, failed_checks: list[str]) -> None:
    name = program()
    if outcome.runs == 0:
        console.print("Nothing to do: every layer of every day is there. Use --again to fetch everything again.")
    for run_id, sentences in outcome.failed.items():
        for sentence in sentences:
            console.print(f"[bold red]failed[/] {sentence}", soft_wrap=True)
        console.print(f"  run {run_id}", style="dim")
    for sentence in failed_checks:
        console.print(f"[bold red]check failed[/] {sentence}", soft_wrap=True)
    console.print(f"Tables are in {settings.data_home / 'lake'}", soft_wrap=True)
    console.print("Next:")
    for example in (
        f"{name} query \"SELECT * FROM macd WHERE ticker = 'NVDA' ORDER BY trade_date DESC LIMIT 5\"",
        f"{name} status",
        f"{name} dev                     the Dagster UI on these tables",
    ):
        console.print(f"  {example}", soft_wrap=True)
