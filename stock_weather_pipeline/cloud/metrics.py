"""Metrics to CloudWatch: their names, their units, and sending them. What is measured is the callers' knowledge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from stock_weather_pipeline.lake.aws.errors import aws_errors
from stock_weather_pipeline.lake.aws.session import AwsSession
from stock_weather_pipeline.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch.literals import StandardUnitType
    from mypy_boto3_cloudwatch.type_defs import MetricDatumTypeDef

PUBLISH_LAG = "PublishLagDays"
ROWS_PUBLISHED = "RowsPublished"
ROWS_QUARANTINED = "RowsQuarantined"
FAILED_CHECKS = "FailedChecks"
BYTES_SCANNED = "BytesScanned"

_UNITS: dict[str, StandardUnitType] = {BYTES_SCANNED: "Bytes"}
# CloudWatch takes 1,000 in a call.
_MOST_IN_A_CALL = 1000


@dataclass(frozen=True)
class Datum:
    """One value at one moment; of a dataset, or of the whole pipeline."""

    name: str
    value: float
    at: datetime
    dataset: str | None = None


def put_metrics(settings: Settings, data: Sequence[Datum]) -> None:
    """Send values to the namespace of the settings. Raises LakeError when CloudWatch does not take them."""
    session = AwsSession()
    client = session.boto.client("cloudwatch", config=session.config)
    for start in range(0, len(data), _MOST_IN_A_CALL):
        with aws_errors(f"send metrics to {settings.metrics_namespace}"):
            client.put_metric_data(
                Namespace=settings.metrics_namespace,
                MetricData=[_as_sent(datum) for datum in data[start : start + _MOST_IN_A_CALL]],
            )


def _as_sent(datum: Datum) -> MetricDatumTypeDef:
    return {
        "MetricName": datum.name,
        "Dimensions": [{"Name": "Dataset", "Value": datum.dataset}] if datum.dataset else [],
        "Timestamp": datum.at,
        "Value": datum.value,
        "Unit": _UNITS.get(datum.name, "Count"),
    }
