"""Alerts to an SNS topic. What an alert is, and when it is told again, is `automation.alerts`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stock_weather_pipeline.errors import DeliveryError, LakeError
from stock_weather_pipeline.lake.aws.errors import aws_errors
from stock_weather_pipeline.lake.aws.session import AwsSession

# A sensor's tick has 60 s for everything; a notice that is not taken is sent again at the next.
_TIMEOUT_S = 5
_TRIES = 2
_LONGEST_SUBJECT = 100


@dataclass(frozen=True)
class SnsSink:
    """One message for each notice: its text, and attributes that subscriptions may filter by."""

    topic_arn: str
    name: str = "sns"

    def send(self, notice: Mapping[str, Any]) -> None:
        """Raises DeliveryError when the notice has to be sent again."""
        from botocore.config import Config

        config = Config(connect_timeout=_TIMEOUT_S, read_timeout=_TIMEOUT_S, retries={"total_max_attempts": _TRIES})
        attributes = {"kind": notice["kind"], "dataset": notice["dataset"] or "none", "problem": notice["problem"]}
        try:
            with aws_errors(f"publish an alert to {self.topic_arn}"):
                AwsSession().boto.client("sns", config=config).publish(
                    TopicArn=self.topic_arn,
                    Subject=_subject(notice),
                    Message=notice["text"],
                    MessageAttributes={
                        name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()
                    },
                )
        except LakeError as error:
            raise DeliveryError(str(error)) from error


def _subject(notice: Mapping[str, Any]) -> str:
    """SNS takes one line of ASCII below 100 characters."""
    first = str(notice["text"]).split("\n", 1)[0]
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in first)[: _LONGEST_SUBJECT - 1]
