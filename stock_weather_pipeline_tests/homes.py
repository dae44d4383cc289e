"""A data home and the command line on it, for tests of any package. No test belongs here."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from click.testing import CliRunner, Result

from stock_weather_pipeline.cli import main
from stock_weather_pipeline.lake.interfaces import Lake
from stock_weather_pipeline.settings import Settings, load_settings

if TYPE_CHECKING:
    from dagster import DagsterInstance


@dataclass
class Home:
    """One folder with its settings; the vendors are at `url`."""

    folder: Path
    url: str
    key: str = "any-key"
    extra: dict[str, str] = field(default_factory=dict)
    first_output: str = ""

    @property
    def environment(self) -> dict[str, str]:
        """Everything the settings read. The last two are set by the package itself and are to be put back after."""
        return {
            "STOCK_WEATHER_HOME": str(self.folder / "home"),
            "STOCK_WEATHER_POLYGON_URL": self.url,
            "STOCK_WEATHER_OPEN_METEO_URL": self.url,
            "STOCK_WEATHER_POLYGON_CALLS_PER_MINUTE": "6000",
            "POLYGON_API_KEY": self.key,
            "COLUMNS": "80",
            **self.extra,
            "DAGSTER_HOME": "",
            "STOCK_WEATHER_EVENT_LOG_DIR": "",
        }

    def invoke(self, *words: str) -> Result:
        """`stock-weather WORDS`, in this process, in a folder without `.env`."""
        with _inside(self.folder):
            return CliRunner().invoke(main, words, env=self.environment)

    @contextmanager
    def settings(self) -> Iterator[Settings]:
        """The settings of this home, with its environment in place."""
        with _inside(self.folder), CliRunner().isolation(env=self.environment):
            yield load_settings()

    @contextmanager
    def opened(self) -> Iterator[tuple[Settings, Lake, DagsterInstance]]:
        """What the command line works with."""
        from stock_weather_pipeline.automation.instance import open_instance
        from stock_weather_pipeline.lake.opening import open_lake

        with self.settings() as settings, open_instance(settings) as instance:
            yield settings, open_lake(settings), instance

    def materialize(self, *keys: tuple[str, str], first: str, last: str) -> bool:
        """Materialize chosen assets for a range, as the UI would; whether that went well."""
        from stock_weather_pipeline.automation.work import asset_keys
        from stock_weather_pipeline.definitions import build_definitions

        with self.opened() as (settings, _, instance):
            result = (
                build_definitions(settings)
                .resolve_implicit_global_asset_job_def()
                .execute_in_process(
                    run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
                    instance=instance,
                    asset_selection=asset_keys(keys),
                    tags={"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last},
                    raise_on_error=False,
                )
            )
        return result.success

    def materialized(self, layer: str, name: str) -> set[str]:
        """The days of a dataset's layer, or of a view, that Dagster shows as materialized."""
        from dagster import AssetKey, AssetPartitionStatus

        from stock_weather_pipeline.datasets import DATASETS
        from stock_weather_pipeline.partitions import partitions_definition
        from stock_weather_pipeline.views import VIEWS

        with self.opened() as (settings, _, instance):
            partition_set = VIEWS[name].partition_set if name in VIEWS else DATASETS[name].partition_set
            assert partition_set is not None
            definition = partitions_definition(partition_set, settings.start_date)
            statuses = instance.get_status_by_partition(
                AssetKey([layer, name]), definition.get_partition_keys(), definition
            )
        assert statuses is not None
        return {key for key, status in statuses.items() if status is AssetPartitionStatus.MATERIALIZED}

    def rows(self, sql: str) -> list[dict[str, Any]]:
        with self.opened() as (_, lake, _instance):
            return lake.rows(sql)

    def tables(self) -> dict[str, list[str]]:
        """Every row of every prod table and view, as text, sorted. When an audit was made is left out."""
        from stock_weather_pipeline.datasets import DATASETS
        from stock_weather_pipeline.views import VIEWS

        with self.opened() as (_, lake, _instance):
            names = [name for name in (*DATASETS, "audits") if lake.tables.exists(name)]
            names += [name for name in VIEWS if lake.catalog.get_view(name)]
            found = {}
            for name in names:
                rows = lake.rows(f"SELECT * FROM {name}")
                found[name] = sorted(
                    repr({column: value for column, value in row.items() if column not in ("audited_at", "version")})
                    for row in rows
                )
        return found

    @property
    def data(self) -> Path:
        with self.settings() as settings:
            return settings.data_home

    @property
    def lake_folder(self) -> Path:
        return self.data / "lake"

    def raw(self, dataset: str, day: date) -> Path:
        return self.lake_folder / "raw" / dataset / f"{day:year=%Y/month=%m/day=%d}" / f"{dataset}.csv"

    def files(self, *parts: str) -> dict[str, str]:
        """Digest of every file of some folders of the lake, by path."""
        root = self.lake_folder
        return {
            str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
            for part in parts
            for path in sorted((root / part).rglob("*"))
            if path.is_file()
        }


def home_on_aws(folder: Path, url: str) -> Home:
    """A home whose lake is in the emulated account that the environment leads to."""
    from infra.emulation.lake_account import SETTINGS  # moto takes seconds to load

    account = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    return Home(folder, url, extra={**SETTINGS, **account})


@contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
