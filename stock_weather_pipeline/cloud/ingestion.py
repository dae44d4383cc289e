"""Fetching through the ingest function: a run invokes it through Dagster Pipes and lands what it hands over.

The function is `infra/ingest`. To the raw layer its pages are a source like any other, so that what lands is the same
bytes as when the run itself asks the vendor. Handed-over objects are deleted once they have landed, or failed to.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any

import dagster as dg
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from dagster_aws.pipes import PipesLambdaEventContextInjector, PipesS3MessageReader

from stock_weather_pipeline import errors
from stock_weather_pipeline.datasets import Dataset
from stock_weather_pipeline.errors import PermanentSourceError, SourceError, TransientSourceError
from stock_weather_pipeline.lake.aws.errors import is_transient
from stock_weather_pipeline.lake.aws.objects import S3Objects
from stock_weather_pipeline.lake.aws.session import CONNECT_TIMEOUT_S, AwsSession
from stock_weather_pipeline.lake.interfaces import Objects
from stock_weather_pipeline.settings import WHOLE_MARKET, Settings, location_text
from stock_weather_pipeline.sources.base import FetchPlan, Page, Progress, RangeSource, Snapshot, silent
from stock_weather_pipeline.sources.handover import PREFIX, page_from_bytes, snapshot_from_bytes
from stock_weather_pipeline.sources.vendors import VENDORS, Vendors

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

# Lambda ends a function after 15 minutes. A client that gives up before would leave it running unheard.
_ANSWER_S = 15 * 60 + 60


@dataclass(frozen=True)
class IngestFunction:
    """The deployed function, and the objects under which it hands over."""

    session: AwsSession
    name: str
    bucket: str
    objects: Objects

    @contextmanager
    def invoked(self, event: Mapping[str, Any]) -> Iterator[tuple[list[bytes] | Iterator[bytes], SourceError | None]]:
        """What the function handed over, and the error it ended with, if any. Afterwards the objects are gone.

        Raises TransientSourceError when it cannot be invoked now, or answered without handing over.
        """
        context = dg.AssetExecutionContext.get()
        prefix = f"{PREFIX}{context.run.run_id}/{uuid.uuid4()}/"
        try:
            answer, failed = self._invoke(context, {**event, "delivery": "handover", "handover": prefix}, prefix)
            error = _error(self.name, answer) if failed else None
            keys = [item.key for item in self.objects.list(prefix) if item.key.endswith(".json.gz")]
            if error is None and len(keys) != answer.get("pages"):
                raise TransientSourceError(
                    f"The function {self.name} says that it handed over {answer.get('pages')} pages, and "
                    f"{len(keys)} are there: run this again."
                )
            yield (self.objects.read(key) for key in keys), error
        finally:
            self.objects.delete([item.key for item in self.objects.list(prefix)])

    def _invoke(self, context: dg.AssetExecutionContext, event: dict[str, Any], prefix: str) -> tuple[Any, bool]:
        """The function's answer, and whether it failed."""
        client = self._client()
        with dg.open_pipes_session(
            # Pipes asks the asset's own context for what is deprecated there.
            context=context.op_execution_context,
            context_injector=PipesLambdaEventContextInjector(),
            message_reader=_MessagesBeside(prefix, self.bucket, self.session.s3),
        ) as pipes:
            payload = json.dumps({**event, **pipes.get_bootstrap_env_vars()})
            try:
                answer = client.invoke(FunctionName=self.name, InvocationType="RequestResponse", Payload=payload)
                return json.loads(answer["Payload"].read() or "{}"), "FunctionError" in answer
            except (BotoCoreError, ClientError) as error:
                kind = TransientSourceError if is_transient(error) else PermanentSourceError
                raise kind(
                    f"The function {self.name} cannot be invoked ({error}): check STOCK_WEATHER_INGEST_FUNCTION and "
                    "that the stack is deployed, or fetch in the run with STOCK_WEATHER_INGESTION=run."
                ) from error

    def _client(self) -> LambdaClient:
        # No second try by itself: the first one may still be fetching, and would spend the vendor's quota twice.
        config = Config(
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=_ANSWER_S,
            retries={"total_max_attempts": 1},
            tcp_keepalive=True,
        )
        return self.session.boto.client("lambda", config=config)


@dataclass(frozen=True)
class FunctionVendors(Vendors):
    """The vendors as the ingest function reaches them. Plans are made here, calls are made there."""

    function: IngestFunction = field(kw_only=True)

    def range_source(self, dataset: Dataset, chosen: Sequence[str] | None = None) -> RangeSource:
        settings = self._narrowed(dataset, chosen) if chosen else self.settings
        planner = super().range_source(dataset, chosen)
        return _FunctionSource(dataset, planner, _event(dataset, settings), self.function)

    def fetch_snapshot(self, dataset: Dataset) -> Snapshot:
        if dataset.name not in VENDORS:
            return super().fetch_snapshot(dataset)
        with self.function.invoked(_event(dataset, self.settings)) as (handed, error):
            if error is not None:
                raise error
            (data,) = handed
            return snapshot_from_bytes(dataset, data)


@dataclass(frozen=True)
class _FunctionSource:
    """A RangeSource."""

    dataset: Dataset
    planner: RangeSource
    event: Mapping[str, Any]
    function: IngestFunction

    def plan(self, days: Sequence[date]) -> FetchPlan:
        return self.planner.plan(days)

    def fetch(self, days: Sequence[date], progress: Progress = silent) -> Iterator[Page]:
        first, last = min(days), max(days)
        what = f"{self.function.name} {self.dataset.name} {first}..{last}"
        progress(0, 1, what)
        with self.function.invoked({**self.event, "start": str(first), "end": str(last)}) as (handed, error):
            for data in handed:
                yield page_from_bytes(self.dataset, data)
            if error is not None:
                # What came before it is landed all the same.
                raise error
        progress(1, 1, what)


class _MessagesBeside(PipesS3MessageReader):
    """Pipes messages below the handover's prefix, so that one permission and one deletion are enough."""

    def __init__(self, prefix: str, bucket: str, client: Any) -> None:
        super().__init__(bucket=bucket, client=client)
        self._prefix = f"{prefix}messages"

    @contextmanager
    def get_params(self) -> Iterator[Any]:
        with super().get_params() as params:
            yield {**params, "key_prefix": self._prefix}


def function_vendors(settings: Settings) -> FunctionVendors:
    """The vendors through the deployed function of these settings, which are of the aws deployment."""
    assert settings.raw_bucket is not None
    session = AwsSession()
    # Everything that is handed over is in the raw bucket; the other one is never asked.
    objects = S3Objects(session, settings.raw_bucket, settings.raw_bucket)
    function = IngestFunction(session, settings.ingest_function, settings.raw_bucket, objects)
    return FunctionVendors(settings, settings.polygon_url, settings.open_meteo_url, function=function)


def _event(dataset: Dataset, settings: Settings) -> dict[str, Any]:
    """What to fetch, spelled out, so that the function's own settings do not matter."""
    if dataset.entity == "location":
        return {"dataset": dataset.name, "locations": [location_text(place) for place in settings.locations]}
    tickers = ["*"] if settings.tickers == WHOLE_MARKET else list(settings.tickers)
    return {"dataset": dataset.name, "tickers": tickers}


def _error(function: str, answer: Any) -> SourceError:
    """The error a function ended with, as the kind of error that it was there."""
    told = answer if isinstance(answer, dict) else {}
    message = str(told.get("errorMessage", "it gave no reason"))
    kind = getattr(errors, str(told.get("errorType")), None)
    if isinstance(kind, type) and issubclass(kind, SourceError):
        return kind(message)
    if isinstance(kind, type) and issubclass(kind, errors.PipelineError):
        return PermanentSourceError(message)
    # It ran out of time or memory, or broke: its log says more.
    return TransientSourceError(f"The function {function} failed ({message}): see its log, or run this again later.")
