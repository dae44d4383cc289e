"""The storage of a shared deployment, on a real PostgreSQL: a backfill is stored in batches and told as on SQLite."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import dagster as dg
import pytest
from dagster._core.events.log import EventLogEntry
from dagster_postgres.event_log import PostgresEventLogStorage

_DAYS = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-03-01")
_START_UP_S = 60


def _programs() -> Path | None:
    on_path = shutil.which("initdb")
    found = [Path(on_path).resolve().parent] if on_path else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return found[-1] if found else None


@pytest.fixture(scope="module")
def postgres_url() -> Iterator[str]:
    programs = _programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed on this machine")
    # Not pytest's own folder, which other users may not enter.
    with TemporaryDirectory() as folder:
        yield from _served(programs, Path(folder))


def _served(programs: Path, folder: Path) -> Iterator[str]:
    # PostgreSQL refuses to run as root.
    user = "nobody" if os.getuid() == 0 else None
    if user:
        shutil.chown(folder, user)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    data = folder / "data"
    subprocess.run(
        [programs / "initdb", "-D", data, "-U", "dagster", "-A", "trust", "--no-sync"],
        check=True,
        capture_output=True,
        user=user,
        cwd=folder,
    )
    options = ["-h", "127.0.0.1", "-p", str(port), "-k", str(folder), "-F"]
    server = subprocess.Popen(
        [programs / "postgres", "-D", data, *options],
        user=user,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(programs, port)
        yield f"postgresql://dagster@127.0.0.1:{port}/postgres"
    finally:
        server.terminate()
        server.wait(timeout=30)


def _wait_for(programs: Path, port: int) -> None:
    deadline = time.monotonic() + _START_UP_S
    while subprocess.run([programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)], check=False).returncode:
        assert time.monotonic() < deadline, "PostgreSQL did not start"
        time.sleep(0.2)


@dg.asset(partitions_def=_DAYS)
def upstream() -> None: ...


@pytest.fixture
def stored(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many events each call of the storage was given."""
    sizes: list[int] = []
    stock = PostgresEventLogStorage.store_event_batch

    def counted(self: PostgresEventLogStorage, events: Sequence[EventLogEntry]) -> None:
        sizes.append(len(events))
        stock(self, events)

    monkeypatch.setattr(PostgresEventLogStorage, "store_event_batch", counted)
    return sizes


def test_a_backfill_is_stored_in_batches_and_every_day_is_there(
    postgres_url: str, stored: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "1000")
    overrides = {"storage": {"postgres": {"postgres_url": postgres_url}}}
    days = _DAYS.get_partition_keys()
    with dg.instance_for_test(overrides=overrides) as instance:
        assert isinstance(instance.event_log_storage, PostgresEventLogStorage)
        result = (
            dg.Definitions(assets=[upstream])
            .resolve_implicit_global_asset_job_def()
            .execute_in_process(
                instance=instance,
                tags={"dagster/asset_partition_range_start": days[0], "dagster/asset_partition_range_end": days[-1]},
                run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            )
        )
        statuses = instance.get_status_by_partition(dg.AssetKey("upstream"), days, _DAYS)
    assert result.success
    assert statuses == dict.fromkeys(days, dg.AssetPartitionStatus.MATERIALIZED)
    assert stored.count(len(days)) >= 1, "all days of the asset in one batch"
