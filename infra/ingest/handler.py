"""The entry point of the function: fetches what an event asks for and delivers it.

Settings are the package's, from the same variables as everywhere; the names of the stack's streams and queue are its
own. An event that is wrong, and a vendor that does not deliver, end as an error with one sentence; EventBridge and
Lambda then retry and keep the event. Repeating an event changes nothing.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Protocol

from infra.ingest.delivery import DeadLetters, Delivery, lines
from infra.ingest.events import Request, request_of
from stock_weather_pipeline.cloud.secrets import polygon_key
from stock_weather_pipeline.errors import PermanentSourceError, SettingsError
from stock_weather_pipeline.lake.aws.session import AwsSession
from stock_weather_pipeline.settings import Settings, load_settings
from stock_weather_pipeline.sources.base import Page
from stock_weather_pipeline.sources.handover import page_to_bytes, snapshot_to_bytes
from stock_weather_pipeline.sources.vendors import VENDORS, Vendors

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_log = logging.getLogger(__name__)

Result = dict[str, Any]


class LambdaContext(Protocol):
    """What Lambda tells about an invocation."""

    def get_remaining_time_in_millis(self) -> int: ...


def handler(event: Mapping[str, Any], context: LambdaContext) -> Result:
    """Lambda's entry point. Returns what was done, as JSON: rows, vendor calls, pages or records."""
    session = AwsSession()
    with _reported(event, session) as log:
        request = request_of(event)
        vendors = _vendors(request, session)
        result = _handle(request, vendors, session, context, log)
    _log.info("%s done", request.dataset.name, extra=result)
    return result


@contextmanager
def _reported(event: Mapping[str, Any], session: AwsSession) -> Iterator[logging.Logger]:
    """Somewhere to tell how it goes: the run that invoked the function, or its log."""
    from dagster_pipes import (
        PipesContext,
        PipesDefaultContextLoader,
        PipesMappingParamsLoader,
        PipesS3MessageWriter,
    )

    loader = PipesMappingParamsLoader(event)
    if not loader.is_dagster_pipes_process():
        yield _log
        return
    # `open_dagster_pipes` would give a warm process the closed context of its first invocation (dagster #22094).
    with PipesContext(loader, PipesDefaultContextLoader(), PipesS3MessageWriter(session.s3)) as pipes:
        yield pipes.log


def _vendors(request: Request, session: AwsSession) -> Vendors:
    settings = _settings()
    if VENDORS[request.dataset.name] == "polygon":
        if settings.polygon_secret_arn is None:
            raise SettingsError("STOCK_WEATHER_POLYGON_SECRET_ARN is not set: deploy the stack again.")
        key = polygon_key(session, settings.polygon_secret_arn)
        settings = settings.model_copy(update={"polygon_api_key": key})
    if request.tickers is not None:
        settings = settings.model_copy(update={"tickers": request.tickers})
    if request.locations is not None:
        settings = settings.model_copy(update={"locations": request.locations})
    return Vendors(settings, settings.polygon_url, settings.open_meteo_url)


def _settings() -> Settings:
    # The function opens no lake, so it needs nothing of what a deployment has.
    return load_settings({"deployment": "local"})


def _handle(
    request: Request, vendors: Vendors, session: AwsSession, context: LambdaContext, log: logging.Logger
) -> Result:
    if request.dataset.partition_set is None:
        snapshot = vendors.fetch_snapshot(request.dataset)
        key = f"{request.handover}000001.json.gz"
        session.s3.put_object(Bucket=_raw_bucket(), Key=key, Body=snapshot_to_bytes(snapshot))
        return {"calls": snapshot.calls, "rows": len(snapshot.columns[request.dataset.entity]), "pages": 1}
    source = vendors.range_source(request.dataset)
    plan = source.plan(request.days)
    log.info(plan.description)
    minutes_left = context.get_remaining_time_in_millis() / 60_000
    if plan.minutes > minutes_left:
        raise PermanentSourceError(
            f"{plan.description} take {plan.minutes:.0f} minutes at this quota and the function has "
            f"{minutes_left:.0f}: ask for fewer days or tickers, or fetch in the run with STOCK_WEATHER_INGESTION=run."
        )
    pages = source.fetch(request.days, lambda done, planned, what: _log.info("%s (%d of %d)", what, done, planned))
    if request.delivery == "handover":
        return _hand_over(pages, session.s3, _raw_bucket(), request.handover)
    return _deliver(pages, request, session)


def _hand_over(pages: Iterator[Page], s3: S3Client, bucket: str, prefix: str) -> Result:
    calls = rows = count = 0
    for count, page in enumerate(pages, 1):
        s3.put_object(Bucket=bucket, Key=f"{prefix}{count:06d}.json.gz", Body=page_to_bytes(page))
        calls, rows = calls + page.calls, rows + len(page.days)
    return {"calls": calls, "rows": rows, "pages": count}


def _deliver(pages: Iterator[Page], request: Request, session: AwsSession) -> Result:
    name = request.dataset.name
    config = session.config
    dead_letters = DeadLetters(
        session.boto.client("sqs", config=config),
        _variable("STOCK_WEATHER_DEAD_LETTER_QUEUE_URL"),
        session.s3,
        _raw_bucket(),
    )
    stream = _variable(f"STOCK_WEATHER_FIREHOSE_STREAM_{name.upper()}")
    delivery = Delivery(name, session.boto.client("firehose", config=config), stream, dead_letters)
    calls = rows = delivered = dead = 0
    for page in pages:
        fetched_at = datetime.now(timezone.utc).isoformat(timespec="microseconds")
        sent, unsent = delivery.send(lines(name, page, fetched_at))
        calls, rows = calls + page.calls, rows + len(page.days)
        delivered, dead = delivered + sent, dead + unsent
    return {"calls": calls, "rows": rows, "records_delivered": delivered, "records_dead": dead}


def _raw_bucket() -> str:
    return _variable("STOCK_WEATHER_RAW_BUCKET")


def _variable(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise SettingsError(f"{name} is not set: deploy the stack again.")
    return value
