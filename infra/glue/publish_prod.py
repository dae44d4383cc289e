"""Glue job: the audited days are published, in one commit for each table, and the views are as the repository has them.

A day whose audit failed is refused and named, and keeps no other day from being published.
"""

from __future__ import annotations

from datetime import datetime, timezone

from stock_weather_pipeline.cloud.jobs import Step, run_step
from stock_weather_pipeline.cloud.metrics import PUBLISH_LAG, ROWS_PUBLISHED, Datum, put_metrics
from stock_weather_pipeline.datasets import DATASETS
from stock_weather_pipeline.lake.layout import Layer, external_table
from stock_weather_pipeline.layers import views
from stock_weather_pipeline.layers.audit import audit
from stock_weather_pipeline.layers.parquet import type_days
from stock_weather_pipeline.layers.prod import publish
from stock_weather_pipeline.partitions import partitions_behind
from stock_weather_pipeline.views import VIEWS


def publish_prod(step: Step) -> None:
    """The tables without partitions first: views join them."""
    lake, now = step.lake, datetime.now(timezone.utc)
    metrics = []
    for dataset in DATASETS.values():
        if dataset.partition_set is None and lake.objects.exists(external_table(dataset, Layer.RAW).key(None)):
            audit(lake, dataset, [None], type_days(lake, dataset, [None]))
            refused = publish(lake, dataset, [None], step.run_id).refused
            step.problems += [f"{dataset.name} is not published: {reason}" for reason in refused.values()]
    for dataset in step.datasets:
        days = step.days(dataset)
        if not days:
            step.report[dataset.name] = {"days_published": 0}
            continue
        result = publish(lake, dataset, days, step.run_id)
        step.problems += [f"{dataset.name} {day} is not published: {reason}" for day, reason in result.refused.items()]
        changed = sum(result.rows[day] for day in result.changed)
        newest = max((day for day in result.rows if day is not None), default=None)
        metrics.append(Datum(ROWS_PUBLISHED, changed, now, dataset.name))
        if newest is not None and dataset.partition_set is not None:
            behind = partitions_behind(dataset.partition_set, newest, now)
            metrics.append(Datum(PUBLISH_LAG, behind, now, dataset.name))
        step.report[dataset.name] = {
            "days_published": len(result.rows),
            "days_changed": len(result.changed),
            "days_refused": len(result.refused),
            "rows_changed": changed,
        }
    for view in VIEWS.values():
        views.create(lake, view)
    if step.settings.deployment == "aws":
        put_metrics(step.settings, metrics)


if __name__ == "__main__":
    run_step("publish_prod", publish_prod)
