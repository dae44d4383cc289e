"""The metrics sensor: what one pages on, measured in the instance's own records and sent to CloudWatch.

Only the aws deployment has it. It starts nothing, and asks the lake nothing, so that watching costs no queries.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import date, datetime, timezone

import dagster as dg

from stock_weather_pipeline.automation.sensors.ticks import utc_now
from stock_weather_pipeline.automation.work import LAYERS
from stock_weather_pipeline.cloud.metrics import (
    BYTES_SCANNED,
    FAILED_CHECKS,
    PUBLISH_LAG,
    ROWS_PUBLISHED,
    ROWS_QUARANTINED,
    Datum,
    put_metrics,
)
from stock_weather_pipeline.datasets import PARTITIONED
from stock_weather_pipeline.partitions import partitions_behind
from stock_weather_pipeline.settings import Settings
from stock_weather_pipeline.status import latest_checks

SCANNED_BYTES = "scanned_bytes"
"""The label under which a materialization says how many bytes its queries scanned."""

_INTERVAL_S = 300
# What one tick reads of an asset; the cursor takes the next tick on from there.
_EVENTS = 1000


def metrics_sensor(settings: Settings) -> dg.SensorDefinition:
    """Its cursor is the newest materialization that was counted; without it, counting begins at the present."""

    @dg.sensor(
        name="metrics",
        minimum_interval_seconds=_INTERVAL_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Sends metrics to CloudWatch, namespace {settings.metrics_namespace}.",
    )
    def tick(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        assert context.repository_def is not None
        graph = context.repository_def.asset_graph
        keys, check_keys = graph.materializable_asset_keys, graph.asset_check_keys
        instance, now = context.instance, utc_now()
        flows, cursor = _flows(instance, keys, context.cursor)
        states = [*_lags(instance, now), *_failed_checks(instance, check_keys, now)]
        # In one call, so that a tick that fails is repeated without counting anything twice.
        put_metrics(settings, [*states, *flows])
        return dg.SensorResult(skip_reason=dg.SkipReason(f"{len(states) + len(flows)} values sent."), cursor=cursor)

    return tick


def _lags(instance: dg.DagsterInstance, now: datetime) -> Iterator[Datum]:
    for dataset in PARTITIONED:
        assert dataset.partition_set is not None
        published = instance.event_log_storage.get_materialized_partitions(dg.AssetKey(["prod", dataset.name]))
        if published:
            newest = date.fromisoformat(max(published))
            yield Datum(PUBLISH_LAG, partitions_behind(dataset.partition_set, newest, now), now, dataset.name)


def _failed_checks(instance: dg.DagsterInstance, keys: Iterable[dg.AssetCheckKey], now: datetime) -> Iterator[Datum]:
    for dataset in PARTITIONED:
        checks = latest_checks(instance, keys, {(layer, dataset.name) for layer in LAYERS})
        yield Datum(FAILED_CHECKS, len(checks.failed), now, dataset.name)


def _flows(instance: dg.DagsterInstance, keys: Iterable[dg.AssetKey], cursor: str | None) -> tuple[list[Datum], str]:
    """Sums by minute over the materializations after the cursor, and the new cursor."""
    keys = sorted(keys, key=str)
    # Known before reading: what is stored while one asset after the other is read waits for the next tick.
    until = _newest(instance, keys)
    if cursor is None:
        return [], str(until)
    records: list[dg.EventLogRecord] = []
    for key in keys:
        wanted = dg.AssetRecordsFilter(asset_key=key, after_storage_id=int(cursor))
        found = instance.fetch_materializations(wanted, limit=_EVENTS, ascending=True).records
        records += found
        if len(found) == _EVENTS:
            # The others count up to here only, so that one cursor serves all.
            until = min(until, found[-1].storage_id)
    counted = [record for record in records if record.storage_id <= until]
    sums: Counter[tuple[str, str | None, datetime]] = Counter()
    for record in counted:
        minute = datetime.fromtimestamp(record.timestamp // 60 * 60, timezone.utc)
        for name, dataset, value in _measured(record):
            sums[name, dataset, minute] += value
    data = [Datum(name, value, at, dataset) for (name, dataset, at), value in sums.items()]
    return data, str(until)


def _newest(instance: dg.DagsterInstance, keys: Iterable[dg.AssetKey]) -> int:
    newest = (instance.fetch_materializations(key, limit=1).records for key in keys)
    return max((records[0].storage_id for records in newest if records), default=0)


def _measured(record: dg.EventLogRecord) -> Iterator[tuple[str, str | None, int]]:
    """Metric, dataset and value of what a materialization says of itself."""
    materialization = record.asset_materialization
    assert materialization is not None
    layer, name = materialization.asset_key.path
    said = {label: value.value for label, value in materialization.metadata.items()}
    if layer == "prod" and said.get("changed") and name in {dataset.name for dataset in PARTITIONED}:
        yield ROWS_PUBLISHED, name, _whole(said.get("dagster/partition_row_count"))
    if layer == "parquet":
        yield ROWS_QUARANTINED, name, _whole(said.get("rows_quarantined"))
    if SCANNED_BYTES in said:
        yield BYTES_SCANNED, None, _whole(said[SCANNED_BYTES])


def _whole(value: object) -> int:
    return int(value) if isinstance(value, (int, float)) else 0
