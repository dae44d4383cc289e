"""What every sensor's tick has in common: each dataset on its own, and an error in one told without harming others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone

import dagster as dg

from stock_weather_pipeline.errors import PipelineError


class TickError(PipelineError):
    """A tick could serve no dataset, so it is red; the sentence names each with its reason."""


@dataclass
class Tick:
    """Gathers what a tick asks for. `notes` say why nothing is asked for."""

    context: dg.SensorEvaluationContext
    requests: list[dg.RunRequest] = field(default_factory=list)
    observations: list[dg.AssetObservation] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @contextmanager
    def serving(self, name: str) -> Iterator[None]:
        """Whatever goes wrong inside is logged, and the next dataset is served."""
        try:
            yield
        except Exception as error:
            self.errors.append(f"{name}: {error}")
            self.context.log.error(f"{name} could not be served: {error}", exc_info=True)

    def result(self, cursor: str | None = None, nothing: Sequence[str] = ()) -> dg.SensorResult:
        """Raises TickError when there is nothing but errors, so that the tick shows as failed."""
        if self.errors and not self.requests:
            raise TickError("; ".join(self.errors))
        reason = " ".join([*self.notes, *nothing])
        return dg.SensorResult(
            run_requests=self.requests or None,
            skip_reason=None if self.requests else dg.SkipReason(reason),
            cursor=cursor,
            asset_events=self.observations,
        )


def utc_now() -> datetime:
    return datetime.now(timezone.utc)
