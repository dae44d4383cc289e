"""What somebody is called for, and one dashboard. Alarms tell the topic when they begin and when they end."""

from __future__ import annotations

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from constructs import Construct

from infra.stack.alerts import Alerts
from infra.stack.names import DATASETS, Names
from infra.stack.parameters import Parameters
from infra.stack.permissions import METRICS_NAMESPACE

_FRESHNESS_S = 900
_DAY = Duration.days(1)
_MINUTES = Duration.minutes(5)
_ABOVE = cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD
_BELOW = cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD


class Monitoring(Construct):
    """Alarms and the dashboard."""

    def __init__(
        self, scope: Construct, construct_id: str, names: Names, parameters: Parameters, alerts: Alerts
    ) -> None:
        super().__init__(scope, construct_id)
        self._names, self._alerts = names, alerts
        function = {"FunctionName": names.ingest_function}
        group = {"ScheduleGroup": names.schedule_group}
        self._alarm("IngestErrors", "The ingest function failed", _aws("Lambda", "Errors", function))
        self._alarm("IngestThrottles", "The ingest function was throttled", _aws("Lambda", "Throttles", function))
        self._alarm(
            "DeadLetters",
            "Something could not be delivered and waits in the dead-letter queue",
            _aws("SQS", "ApproximateNumberOfMessagesVisible", {"QueueName": names.dead_letters}, "Maximum"),
        )
        self._alarm("ScheduleErrors", "A schedule's target failed", _aws("Scheduler", "TargetErrorCount", group))
        self._alarm(
            "ScheduleDropped",
            "A schedule gave up after its retries",
            _aws("Scheduler", "InvocationDroppedCount", group),
        )
        for dataset in DATASETS:
            stream = {"DeliveryStreamName": names.stream(dataset)}
            camel = dataset.title().replace("_", "")
            self._alarm(
                f"{camel}Delivery",
                f"Firehose could not deliver {dataset} to the landing zone",
                _aws("Firehose", "DeliveryToS3.Success", stream, "Average"),
                threshold=1,
                comparison=_BELOW,
            )
            self._alarm(
                f"{camel}Freshness",
                f"Records of {dataset} have waited in Firehose for more than {_FRESHNESS_S // 60} minutes",
                _aws("Firehose", "DeliveryToS3.DataFreshness", stream, "Maximum"),
                threshold=_FRESHNESS_S,
            )
            self._alarm(
                f"{camel}PublishLag",
                f"The newest published day of {dataset} is too far behind",
                _own("PublishLagDays", dataset, "Maximum", _DAY),
                threshold=parameters.publish_lag_alarm_days,
            )
            self._alarm(
                f"{camel}FailedChecks",
                f"Checks of {dataset} failed",
                _own("FailedChecks", dataset, "Sum"),
            )
        self._alarm(
            "BytesScanned",
            "The pipeline's queries scanned more in a day than they should cost",
            cloudwatch.Metric(namespace=METRICS_NAMESPACE, metric_name="BytesScanned", statistic="Sum", period=_DAY),
            threshold=parameters.daily_scan_alarm_bytes,
        )
        self._dashboard()

    def _alarm(
        self,
        name: str,
        says: str,
        metric: cloudwatch.Metric,
        threshold: float = 0,
        comparison: cloudwatch.ComparisonOperator = _ABOVE,
    ) -> None:
        alarm = cloudwatch.Alarm(
            self,
            name,
            alarm_name=f"{self._names.prefix}-{name}",
            alarm_description=f"{says}. See docs/aws.md, Alarms.",
            metric=metric,
            threshold=threshold,
            comparison_operator=comparison,
            evaluation_periods=1,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
        tell = actions.SnsAction(self._alerts.topic)
        alarm.add_alarm_action(tell)
        alarm.add_ok_action(tell)

    def _dashboard(self) -> None:
        names = self._names
        board = cloudwatch.Dashboard(self, "Dashboard", dashboard_name=names.prefix, default_interval=Duration.days(14))
        board.add_widgets(
            _graph("Days behind", [_own("PublishLagDays", dataset, "Maximum", _DAY) for dataset in DATASETS]),
            _graph("Rows published", [_own("RowsPublished", dataset, "Sum", _DAY) for dataset in DATASETS]),
            _graph("Rows in quarantine", [_own("RowsQuarantined", dataset, "Sum", _DAY) for dataset in DATASETS]),
            _graph("Failed checks", [_own("FailedChecks", dataset, "Sum", _DAY) for dataset in DATASETS]),
        )
        function = {"FunctionName": names.ingest_function}
        board.add_widgets(
            _graph(
                "Ingest function",
                [_aws("Lambda", name, function) for name in ("Invocations", "Errors", "Throttles")],
            ),
            _graph(
                "Firehose: seconds until delivered",
                [
                    _aws("Firehose", "DeliveryToS3.DataFreshness", {"DeliveryStreamName": names.stream(d)}, "Maximum")
                    for d in DATASETS
                ],
            ),
            _graph(
                "Dead letters",
                [_aws("SQS", "ApproximateNumberOfMessagesVisible", {"QueueName": names.dead_letters}, "Maximum")],
            ),
            _graph(
                "Bytes scanned",
                [
                    cloudwatch.Metric(
                        namespace=METRICS_NAMESPACE, metric_name="BytesScanned", statistic="Sum", period=_DAY
                    )
                ],
            ),
        )
        board.add_widgets(
            cloudwatch.LogQueryWidget(
                title="Errors in the logs",
                width=24,
                log_group_names=[names.ingest_log_group, names.glue_log_group],
                query_lines=[
                    "fields @timestamp, @log, @message",
                    "filter @message like /ERROR/",
                    "sort @timestamp desc",
                    "limit 50",
                ],
            )
        )


def _graph(title: str, metrics: list[cloudwatch.IMetric]) -> cloudwatch.GraphWidget:
    return cloudwatch.GraphWidget(title=title, left=metrics, width=6)


def _aws(
    service: str, name: str, dimensions: dict[str, str], statistic: str = "Sum", period: Duration = _MINUTES
) -> cloudwatch.Metric:
    return cloudwatch.Metric(
        namespace=f"AWS/{service}", metric_name=name, dimensions_map=dimensions, statistic=statistic, period=period
    )


def _own(name: str, dataset: str, statistic: str, period: Duration = _MINUTES) -> cloudwatch.Metric:
    return cloudwatch.Metric(
        namespace=METRICS_NAMESPACE,
        metric_name=name,
        dimensions_map={"Dataset": dataset},
        statistic=statistic,
        period=period,
        label=dataset,
    )
