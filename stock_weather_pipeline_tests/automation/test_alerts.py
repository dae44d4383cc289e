"""Alerts on a real instance: failed runs and checks are told once, recoveries once more, and no sink loses a notice."""

import json
import logging
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from stock_weather_pipeline.automation import alerts
from stock_weather_pipeline.automation.alerts import (
    Alert,
    close_alert,
    deliver_pending,
    named_days,
    open_alert,
    open_problems,
)
from stock_weather_pipeline.datasets import STOCK_PRICES
from stock_weather_pipeline.definitions import build_definitions
from stock_weather_pipeline.errors import LakeError, SettingsError
from stock_weather_pipeline.lake.layout import Layer, external_table
from stock_weather_pipeline.lake.opening import open_lake
from stock_weather_pipeline.partitions import PartitionSet
from stock_weather_pipeline.sandbox import Sandbox
from stock_weather_pipeline.settings import Settings, load_settings
from stock_weather_pipeline.sources.vendors import Vendors
from stock_weather_pipeline_tests.automation.ticking import Ticker

# BackfillPolicy is marked beta; the version is pinned.
pytestmark = pytest.mark.filterwarnings("ignore:Parameter `backfill_policy`")

DAYS = [date(2024, 3, 4), date(2024, 3, 5), date(2024, 3, 6)]
BAD = DAYS[1]
SECRET = "T000-very-secret-path"
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings({"home": tmp_path / "home", "sandbox": True, "dagster_url": "http://dagster.example:3000"})


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """On disk and with the stock storage, as a shared deployment has it."""
    (tmp_path / "instance").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "instance"), {"telemetry": {"enabled": False}}) as opened:
        yield opened


@pytest.fixture
def quick_instance() -> Iterator[dg.DagsterInstance]:
    """In memory, for definitions that are the test's own."""
    with dg.DagsterInstance.ephemeral() as opened:
        yield opened


def told(settings: Settings) -> list[dict[str, Any]]:
    path = alerts.alerts_file(settings)
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def range_tags(first: date, last: date) -> dict[str, str]:
    return {
        "dagster/asset_partition_range_start": str(first),
        "dagster/asset_partition_range_end": str(last),
    }


def materialize(
    definitions: dg.Definitions, instance: dg.DagsterInstance, keys: Sequence[str], days: Sequence[date]
) -> dg.ExecuteInProcessResult:
    job = definitions.resolve_implicit_global_asset_job_def()
    return job.execute_in_process(
        instance=instance,
        asset_selection=[dg.AssetKey(key.split("/")) for key in keys],
        tags=range_tags(days[0], days[-1]),
        run_config=QUIET,
        raise_on_error=False,
    )


def test_a_day_that_fails_again_and_again_is_one_alert_and_one_recovery(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    chain = [f"{layer}/stock_prices" for layer in ("raw", "catalog", "parquet", "prod")]
    with Sandbox() as sandbox:
        definitions = build_definitions(settings, Vendors(settings, sandbox.url, sandbox.url))
        sensor = Ticker(settings, "run_alerts", instance, definitions)
        splits = [dg.AssetKey([layer, "stock_splits"]) for layer in ("raw", "prod")]
        job = definitions.resolve_implicit_global_asset_job_def()
        job.execute_in_process(instance=instance, asset_selection=splits, run_config=QUIET)
        sandbox.faults.add("/", "missing_days", days=[BAD])

        failed = materialize(definitions, instance, chain, DAYS)
        assert not failed.success
        assert sensor.tick() == "1 new problems, 0 recoveries."
        for _ in range(2):
            assert not materialize(definitions, instance, chain, [BAD]).success
            assert sensor.tick() == "0 new problems, 0 recoveries."

        sandbox.faults.clear()
        assert materialize(definitions, instance, chain, DAYS).success
        assert sensor.tick() == "0 new problems, 1 recoveries."
        assert sensor.tick() == "0 new problems, 0 recoveries."

    problem, recovery = told(settings)
    assert (problem["kind"], recovery["kind"]) == ("problem", "recovery")
    assert problem["problem"] == recovery["problem"] == "run:stock_prices:2024-03-05"
    assert problem["days"] == ["2024-03-05"]
    assert problem["dataset"] == "stock_prices"
    assert problem["run_url"] == f"http://dagster.example:3000/runs/{failed.run_id}"
    assert "raw/stock_prices: " in problem["reason"]
    assert "2024-03-05" in problem["reason"]
    assert problem["run_url"] in problem["text"]
    assert recovery["reason"] == "The days are materialized."


def test_a_failure_that_healed_before_the_tick_is_not_told(settings: Settings, instance: dg.DagsterInstance) -> None:
    with Sandbox() as sandbox:
        definitions = build_definitions(settings, Vendors(settings, sandbox.url, sandbox.url))
        sandbox.faults.add("/", "missing_days", days=[BAD])
        assert not materialize(definitions, instance, ["raw/stock_prices"], [BAD]).success
        sandbox.faults.clear()
        assert materialize(definitions, instance, ["raw/stock_prices"], [BAD]).success
        assert Ticker(settings, "run_alerts", instance, definitions).tick() == "0 new problems, 0 recoveries."
    assert told(settings) == []


def test_a_job_without_days_is_told_and_recovers_with_its_next_success(
    settings: Settings, quick_instance: dg.DagsterInstance
) -> None:
    broken = True

    @dg.asset(key=["maintenance", "runs"])
    def runs() -> None:
        if broken:
            raise dg.Failure("the disk is full; free space, then run again.")

    definitions = dg.Definitions(assets=[runs])
    sensor = Ticker(settings, "run_alerts", quick_instance, definitions)
    job = definitions.resolve_implicit_global_asset_job_def()
    for _ in range(2):
        job.execute_in_process(instance=quick_instance, run_config=QUIET, raise_on_error=False)
        sensor.tick()
    broken = False
    job.execute_in_process(instance=quick_instance, run_config=QUIET)
    sensor.tick()
    assert [(one["kind"], one["problem"]) for one in told(settings)] == [
        ("problem", "run:maintenance/runs:"),
        ("recovery", "run:maintenance/runs:"),
    ]
    assert "the disk is full" in told(settings)[0]["reason"]


class Judged:
    """A prod table of which the test says what its checks find."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.results: dict[str, tuple[dg.AssetCheckSeverity, str]] = {}
        self._instance = instance
        names = ("unique_key", "latest_day_present", "jump")
        key = ["prod", "stock_prices"]

        @dg.asset(
            key=key,
            partitions_def=dg.DailyPartitionsDefinition("2024-03-01", end_date="2024-04-01"),
            backfill_policy=dg.BackfillPolicy.single_run(),
            check_specs=[dg.AssetCheckSpec(name, asset=key) for name in names],
        )
        def prices() -> dg.MaterializeResult:  # type: ignore[type-arg]
            results = []
            for name in names:
                severity, failed = self.results.get(name, (dg.AssetCheckSeverity.ERROR, ""))
                results.append(
                    dg.AssetCheckResult(
                        check_name=name,
                        passed=not failed,
                        severity=severity,
                        metadata={"failed": failed} if failed else {},
                        description=f"{failed}: found something else" if failed else None,
                    )
                )
            return dg.MaterializeResult(check_results=results)

        self.definitions = dg.Definitions(assets=[prices])

    def run(self, first: date, last: date, **failed: str) -> None:
        warn = dg.AssetCheckSeverity.WARN
        severities = {"latest_day_present": warn, "jump": warn}
        self.results = {k: (severities.get(k, dg.AssetCheckSeverity.ERROR), days) for k, days in failed.items()}
        job = self.definitions.resolve_implicit_global_asset_job_def()
        job.execute_in_process(instance=self._instance, tags=range_tags(first, last), run_config=QUIET)


def test_a_failed_check_is_told_once_and_heals_only_with_the_days_that_failed(
    settings: Settings, quick_instance: dg.DagsterInstance
) -> None:
    table = Judged(quick_instance)
    sensor = Ticker(settings, "check_alerts", quick_instance, table.definitions)
    table.run(DAYS[0], DAYS[2], unique_key=str(BAD), jump=str(BAD))
    assert sensor.tick() == "1 new problems, 0 recoveries."
    table.run(BAD, BAD, unique_key=str(BAD))
    assert sensor.tick() == "0 new problems, 0 recoveries."
    table.run(DAYS[2], DAYS[2])
    assert sensor.tick() == "0 new problems, 0 recoveries."
    table.run(BAD, BAD)
    table.run(DAYS[2], DAYS[2])
    assert sensor.tick() == "0 new problems, 1 recoveries."
    problem, recovery = told(settings)
    assert problem["problem"] == recovery["problem"] == "check:prod/stock_prices:unique_key:2024-03-05"
    assert problem["days"] == ["2024-03-05"]
    assert problem["reason"] == "2024-03-05: found something else"
    assert problem["run_url"].startswith("http://dagster.example:3000/runs/")
    assert recovery["reason"] == "The check passes."


def test_a_failing_check_that_fails_on_another_day_is_another_problem_with_its_own_recovery(
    settings: Settings, quick_instance: dg.DagsterInstance
) -> None:
    table = Judged(quick_instance)
    sensor = Ticker(settings, "check_alerts", quick_instance, table.definitions)
    table.run(DAYS[0], DAYS[0], unique_key=str(DAYS[0]))
    sensor.tick()
    table.run(BAD, BAD, unique_key=str(BAD))
    assert sensor.tick() == "1 new problems, 0 recoveries."
    table.run(BAD, BAD, unique_key="whole table")
    assert sensor.tick() == "1 new problems, 1 recoveries."
    table.run(DAYS[0], DAYS[0])
    assert sensor.tick() == "0 new problems, 2 recoveries."
    name = "check:prod/stock_prices:unique_key:"
    assert [(one["kind"], one["problem"]) for one in told(settings)] == [
        ("problem", f"{name}2024-03-04"),
        ("problem", f"{name}2024-03-05"),
        ("recovery", f"{name}2024-03-05"),
        ("problem", name),
        ("recovery", f"{name}2024-03-04"),
        ("recovery", name),
    ]


def test_a_problem_of_several_days_keeps_its_identity_while_they_heal_one_by_one(
    settings: Settings, quick_instance: dg.DagsterInstance
) -> None:
    table = Judged(quick_instance)
    sensor = Ticker(settings, "check_alerts", quick_instance, table.definitions)
    table.run(DAYS[0], BAD, unique_key=f"{DAYS[0]}, {BAD}")
    sensor.tick()
    table.run(DAYS[0], DAYS[1], unique_key=str(BAD))
    assert sensor.tick() == "0 new problems, 0 recoveries."
    (held,) = open_problems(open_lake(settings)).values()
    assert held.alert.problem == "check:prod/stock_prices:unique_key:2024-03-04..2024-03-05"
    assert held.alert.days == (BAD,)
    table.run(BAD, BAD)
    assert sensor.tick() == "0 new problems, 1 recoveries."


@pytest.mark.parametrize("first", ["run_alerts", "check_alerts"])
def test_a_day_that_its_audit_holds_back_is_one_alert_whichever_sensor_ticks_first(
    settings: Settings, instance: dg.DagsterInstance, first: str
) -> None:
    chain = [f"{layer}/stock_prices" for layer in ("raw", "catalog", "parquet", "prod")]
    with Sandbox() as sandbox:
        definitions = build_definitions(settings, Vendors(settings, sandbox.url, sandbox.url))
        second = next(name for name in ("run_alerts", "check_alerts") if name != first)
        sensors = [Ticker(settings, name, instance, definitions) for name in (first, second)]
        sandbox.faults.add("/v2/aggs", "garbage_rows", days=[BAD])
        assert not materialize(definitions, instance, chain, DAYS).success
        failed_checks = {
            key.name
            for key, record in instance.event_log_storage.get_latest_asset_check_execution_by_key(
                list(definitions.resolve_asset_graph().asset_check_keys)
            ).items()
            if record.status.value == "FAILED" and key.asset_key.path == ["parquet", "stock_prices"]
        }
        assert failed_checks
        for _ in range(2):
            for sensor in sensors:
                sensor.tick()
        (problem,) = told(settings)
        assert problem["problem"] == "run:stock_prices:2024-03-05"
        sandbox.faults.clear()
        assert materialize(definitions, instance, chain, [BAD]).success
        for sensor in sensors:
            sensor.tick()
    # On today's clock the table of these days is stale, which is another problem.
    of_the_day = [one for one in told(settings) if "latest_day_present" not in one["problem"]]
    assert [(one["kind"], one["problem"]) for one in of_the_day] == [
        ("problem", "run:stock_prices:2024-03-05"),
        ("recovery", "run:stock_prices:2024-03-05"),
    ]


def test_a_table_that_stays_stale_is_told_once_though_another_day_is_missing_every_day(
    settings: Settings, quick_instance: dg.DagsterInstance
) -> None:
    table = Judged(quick_instance)
    sensor = Ticker(settings, "check_alerts", quick_instance, table.definitions)
    for missing in ("2024-03-06", "2024-03-07"):
        table.run(DAYS[0], DAYS[0], latest_day_present=missing)
        sensor.tick()
    table.run(DAYS[2], DAYS[2])
    sensor.tick()
    assert [(one["kind"], one["title"]) for one in told(settings)] == [
        ("problem", "stock_prices: stale data"),
        ("recovery", "stock_prices: stale data"),
    ]


def test_a_check_that_failed_and_passed_between_two_ticks_is_not_told(
    settings: Settings, quick_instance: dg.DagsterInstance
) -> None:
    table = Judged(quick_instance)
    table.run(BAD, BAD, unique_key="whole table")
    table.run(BAD, BAD)
    assert Ticker(settings, "check_alerts", quick_instance, table.definitions).tick() == "0 new problems, 0 recoveries."


def test_a_problem_of_a_check_that_was_removed_is_closed(
    settings: Settings, quick_instance: dg.DagsterInstance
) -> None:
    open_alert(settings, open_lake(settings), Alert("check:prod/stock_prices:gone", "gone", "It failed."))
    Ticker(settings, "check_alerts", quick_instance, Judged(quick_instance).definitions).tick()
    assert told(settings)[-1]["reason"] == "There is no such check any more."


@contextmanager
def webhook(answers: list[int]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A server that answers with the given codes in turn, then 200; (its secret URL, what it accepted)."""
    accepted: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            code = answers.pop(0) if answers else 200
            if code == 200 and self.path == f"/{SECRET}":
                accepted.append(body)
            self.send_response(code)
            if code == 302:
                self.send_header("Location", f"/{SECRET}")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/{SECRET}", accepted
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


ALERT = Alert("run:stock_prices:2024-03-05", "stock_prices: 2024-03-05 failed", "No bar.", (BAD,), "r1", "stock_prices")


@pytest.mark.parametrize("refusal", [500, 404, 302])
def test_a_webhook_that_fails_gets_the_alert_at_a_later_tick_once(
    settings: Settings, refusal: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    lake = open_lake(settings)
    with webhook([refusal, refusal]) as (url, accepted):
        with_hook = settings.model_copy(update={"alert_webhook_url": SecretStr(url)})
        assert open_alert(with_hook, lake, ALERT)
        assert close_alert(with_hook, lake, ALERT.problem, "It works again.")
        assert accepted == []
        assert [one["kind"] for one in told(settings)] == ["problem", "recovery"]
        assert deliver_pending(with_hook, lake) == 0
        assert [one["kind"] for one in accepted] == ["problem", "recovery"]
        assert deliver_pending(with_hook, lake) == 0
    assert accepted == told(settings)
    assert f"HTTP {refusal}" in caplog.text
    written = [path.read_text(errors="replace") for path in settings.home.rglob("*") if path.is_file()]
    assert SECRET not in caplog.text + "".join(written) + repr(with_hook)


def test_a_webhook_nobody_listens_on_loses_nothing_and_tells_no_secret(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with webhook([]) as (url, _):
        pass
    with_hook = settings.model_copy(update={"alert_webhook_url": SecretStr(url)})
    lake = open_lake(settings)
    open_alert(with_hook, lake, ALERT)
    assert deliver_pending(with_hook, lake) == 1
    assert len(told(settings)) == 1
    assert "ConnectionRefusedError" in caplog.text
    assert SECRET not in caplog.text
    # A sink that is no longer configured is not waited for.
    assert deliver_pending(settings, lake) == 0


def test_an_alert_names_the_files_of_its_days_in_quarantine(settings: Settings) -> None:
    lake = open_lake(settings)
    table = external_table(STOCK_PRICES, Layer.QUARANTINE)
    lake.objects.write(table.key(BAD), b"rows")
    lake.objects.write(table.key(DAYS[0]), b"rows of another day")
    open_alert(settings, lake, ALERT)
    (notice,) = told(settings)
    assert notice["quarantine"] == [lake.objects.uri(table.key(BAD))]
    assert notice["quarantine"][0] in notice["text"]


def test_many_ticks_at_once_tell_a_problem_once(settings: Settings) -> None:
    lake = open_lake(settings)
    several = [Alert(f"run:job/{n % 3}:", "failed", "It failed.") for n in range(24)]
    with ThreadPoolExecutor(8) as pool:
        new = list(pool.map(lambda alert: open_alert(settings, lake, alert), several))
    assert sum(new) == 3
    assert sorted(one["problem"] for one in told(settings)) == ["run:job/0:", "run:job/1:", "run:job/2:"]
    assert len(open_problems(lake)) == 3


def test_closing_what_is_not_open_tells_nothing(settings: Settings) -> None:
    assert not close_alert(settings, open_lake(settings), "run:stock_prices:2024-03-05", "It works again.")
    assert told(settings) == []


def test_a_damaged_record_of_open_problems_says_what_to_do(settings: Settings) -> None:
    lake = open_lake(settings)
    lake.objects.write(alerts.OPEN_PROBLEMS, b"{")
    with pytest.raises(LakeError, match=r"alerts/open\.json is damaged .* delete it"):
        open_problems(lake)


def test_a_webhook_url_that_cannot_work_is_refused_without_being_shown() -> None:
    with pytest.raises(SettingsError, match="STOCK_WEATHER_ALERT_WEBHOOK_URL cannot be used") as raised:
        load_settings({"alert_webhook_url": f"ftp://hooks.example.com/{SECRET}"})
    assert SECRET not in str(raised.value)


@given(st.sets(st.dates(date(2024, 1, 1), date(2024, 12, 31)), min_size=1))
def test_named_days_name_exactly_the_days(days: set[date]) -> None:
    found: set[date] = set()
    for part in named_days(sorted(days), PartitionSet.DAYS).split(","):
        first, _, last = part.partition("..")
        found.update(PartitionSet.DAYS.days(date.fromisoformat(first), date.fromisoformat(last or first)))
    assert found == days
