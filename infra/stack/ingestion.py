"""Fetching without a run: the vendors' key, the function, the delivery streams into the landing zone, the schedules."""

from __future__ import annotations

import json

from aws_cdk import CfnCondition, Fn, RemovalPolicy, Token
from aws_cdk import aws_kinesisfirehose as firehose
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from infra.stack import permissions
from infra.stack.acknowledged import acknowledge
from infra.stack.alerts import Alerts
from infra.stack.names import DATASETS, Names
from infra.stack.parameters import Parameters

HANDLER = "infra.ingest.handler.handler"
TIME_ZONE = "America/New_York"
_TIMEOUT_S = 900
_MEMORY_MB = 512
_BUFFER_S = 60
_BUFFER_MB = 64


class Ingestion(Construct):
    """Secret, function, streams and schedules."""

    def __init__(
        self, scope: Construct, construct_id: str, names: Names, parameters: Parameters, alerts: Alerts
    ) -> None:
        super().__init__(scope, construct_id)
        self._names, self._parameters, self._alerts = names, parameters, alerts
        # No name of its own: one that was deleted keeps its name for days.
        self.secret = secretsmanager.Secret(
            self,
            "PolygonKey",
            description=f"{names.prefix}: the key of Polygon.io / Massive; put it with `python -m infra put-key`",
            removal_policy=RemovalPolicy.DESTROY,
        )
        acknowledge(self.secret, "AwsSolutions-SMG4", "A vendor's key: only its web page can make another one.")
        _without_generated_value(self.secret)
        self._streams()
        self.function = self._function()
        self._schedules()

    def _streams(self) -> None:
        names = self._names
        group = log_group(self, "FirehoseLog", names.firehose_log_group, self._parameters)
        role = permissions.role(
            self,
            "FirehoseRole",
            "Delivers records to the landing zone",
            permissions.service("firehose", account=names.account),
            [
                permissions.list_buckets(names, names.raw_bucket),
                permissions.write_only_objects(names, names.raw_bucket, ["landing/*", "landing_failed/*"]),
                permissions.write_logs(names, names.firehose_log_group),
            ],
        )
        for dataset in DATASETS:
            log_stream = logs.CfnLogStream(
                self,
                f"{_camel(dataset)}DeliveryLog",
                log_group_name=group.ref,
                log_stream_name=dataset,
            )
            stream = firehose.CfnDeliveryStream(
                self,
                f"{_camel(dataset)}Stream",
                delivery_stream_name=names.stream(dataset),
                delivery_stream_type="DirectPut",
                delivery_stream_encryption_configuration_input=(
                    firehose.CfnDeliveryStream.DeliveryStreamEncryptionConfigurationInputProperty(
                        key_type="AWS_OWNED_CMK"
                    )
                ),
                extended_s3_destination_configuration=(
                    firehose.CfnDeliveryStream.ExtendedS3DestinationConfigurationProperty(
                        bucket_arn=names.bucket_arn(names.raw_bucket),
                        role_arn=role.role_arn,
                        # By arrival: the day of a record is the record's to say.
                        prefix=f"landing/{dataset}/!{{timestamp:yyyy/MM/dd}}/",
                        error_output_prefix=(
                            f"landing_failed/{dataset}/!{{firehose:error-output-type}}/!{{timestamp:yyyy/MM/dd}}/"
                        ),
                        compression_format="GZIP",
                        buffering_hints=firehose.CfnDeliveryStream.BufferingHintsProperty(
                            interval_in_seconds=_BUFFER_S, size_in_m_bs=_BUFFER_MB
                        ),
                        cloud_watch_logging_options=firehose.CfnDeliveryStream.CloudWatchLoggingOptionsProperty(
                            enabled=True, log_group_name=group.ref, log_stream_name=dataset
                        ),
                    )
                ),
            )
            stream.add_resource_dependency(log_stream)

    def _function(self) -> lambda_.CfnFunction:
        names, parameters = self._names, self._parameters
        group = log_group(self, "IngestLog", names.ingest_log_group, parameters)
        streams = [names.arn("firehose", f"deliverystream/{names.stream(dataset)}") for dataset in DATASETS]
        role = permissions.role(
            self,
            "IngestRole",
            "Fetches from the vendors, delivers to Firehose or hands over to a run",
            permissions.service("lambda"),
            [
                permissions.write_logs(names, names.ingest_log_group),
                permissions.read_secret(self.secret.secret_arn),
                permissions.allow(("firehose:PutRecordBatch",), streams),
                permissions.list_buckets(names, names.raw_bucket),
                permissions.write_objects(names, names.raw_bucket, permissions.HANDOVER_KEYS),
                permissions.allow(("sqs:SendMessage",), [self._alerts.dead_letters.queue_arn]),
            ],
        )
        reserved = CfnCondition(
            self,
            "ReservesConcurrency",
            expression=Fn.condition_not(Fn.condition_equals(Token.as_string(parameters.ingest_concurrency), "-1")),
        )
        function = lambda_.CfnFunction(
            self,
            "Ingest",
            function_name=names.ingest_function,
            description="Fetches days of a dataset from its vendor",
            runtime="python3.12",
            architectures=["x86_64"],
            handler=HANDLER,
            role=role.role_arn,
            timeout=_TIMEOUT_S,
            memory_size=_MEMORY_MB,
            # Each function in flight spends the vendor's quota.
            reserved_concurrent_executions=Token.as_number(
                Fn.condition_if(reserved.logical_id, parameters.ingest_concurrency, {"Ref": "AWS::NoValue"})
            ),
            code=lambda_.CfnFunction.CodeProperty(
                s3_bucket=parameters.artifact_bucket, s3_key=parameters.ingest_package_key
            ),
            logging_config=lambda_.CfnFunction.LoggingConfigProperty(
                log_group=group.ref, log_format="JSON", application_log_level="INFO", system_log_level="INFO"
            ),
            environment=lambda_.CfnFunction.EnvironmentProperty(
                variables={
                    "STOCK_WEATHER_DEPLOYMENT": "aws",
                    "STOCK_WEATHER_TICKERS": parameters.tickers,
                    "STOCK_WEATHER_LOCATIONS": parameters.locations,
                    "STOCK_WEATHER_RAW_BUCKET": names.raw_bucket,
                    "STOCK_WEATHER_POLYGON_SECRET_ARN": self.secret.secret_arn,
                    "STOCK_WEATHER_DEAD_LETTER_QUEUE_URL": self._alerts.dead_letters.queue_url,
                    **{
                        f"STOCK_WEATHER_FIREHOSE_STREAM_{dataset.upper()}": names.stream(dataset)
                        for dataset in DATASETS
                    },
                }
            ),
        )
        acknowledge(function, "AwsSolutions-L1", "The version that the package's dependencies are built for.")
        lambda_.CfnEventInvokeConfig(
            self,
            "IngestRetries",
            function_name=function.ref,
            qualifier="$LATEST",
            maximum_retry_attempts=2,
            maximum_event_age_in_seconds=6 * 3600,
            destination_config=lambda_.CfnEventInvokeConfig.DestinationConfigProperty(
                on_failure=lambda_.CfnEventInvokeConfig.OnFailureProperty(
                    destination=self._alerts.dead_letters.queue_arn
                )
            ),
        )
        return function

    def _schedules(self) -> None:
        names, parameters = self._names, self._parameters
        function_arn = names.arn("lambda", f"function:{names.ingest_function}")
        role = permissions.role(
            self,
            "SchedulerRole",
            "Invokes the ingest function and starts the Glue workflow",
            permissions.service("scheduler", account=names.account),
            [
                permissions.allow(("lambda:InvokeFunction",), [function_arn]),
                permissions.allow(("glue:StartWorkflowRun",), [names.arn("glue", f"workflow/{names.workflow}")]),
                permissions.allow(("sqs:SendMessage",), [self._alerts.dead_letters.queue_arn]),
            ],
        )
        group = scheduler.CfnScheduleGroup(self, "Schedules", name=names.schedule_group)
        state = Fn.condition_if(
            CfnCondition(
                self, "WithoutDagster", expression=Fn.condition_equals(parameters.without_dagster, "true")
            ).logical_id,
            "ENABLED",
            "DISABLED",
        ).to_string()
        # Prices of a day are fetched on the next calendar day, also when that is Saturday.
        cron = {"stock_prices": parameters.stock_prices_schedule, "weather": parameters.weather_schedule}
        targets = {
            dataset: (
                cron[dataset],
                function_arn,
                json.dumps(
                    {
                        "dataset": dataset,
                        "scheduled_at": "<aws.scheduler.scheduled-time>",
                        "delivery": "firehose",
                    }
                ),
            )
            for dataset in DATASETS
        }
        targets["workflow"] = (
            parameters.workflow_schedule,
            "arn:aws:scheduler:::aws-sdk:glue:startWorkflowRun",
            Fn.sub('{"Name": "${Workflow}"}', {"Workflow": names.workflow}),
        )
        for name, (expression, target, payload) in targets.items():
            schedule = scheduler.CfnSchedule(
                self,
                f"{_camel(name)}Schedule",
                name=f"{names.prefix}-{name.replace('_', '-')}",
                group_name=names.schedule_group,
                schedule_expression=expression,
                schedule_expression_timezone=TIME_ZONE,
                flexible_time_window=scheduler.CfnSchedule.FlexibleTimeWindowProperty(mode="OFF"),
                state=state,
                target=scheduler.CfnSchedule.TargetProperty(
                    arn=target,
                    role_arn=role.role_arn,
                    input=payload,
                    retry_policy=scheduler.CfnSchedule.RetryPolicyProperty(
                        maximum_retry_attempts=5, maximum_event_age_in_seconds=3600
                    ),
                    dead_letter_config=scheduler.CfnSchedule.DeadLetterConfigProperty(
                        arn=self._alerts.dead_letters.queue_arn
                    ),
                ),
            )
            schedule.add_resource_dependency(group)


def log_group(scope: Construct, construct_id: str, name: str, parameters: Parameters) -> logs.CfnLogGroup:
    """A log group that forgets after the chosen days."""
    group = logs.CfnLogGroup(scope, construct_id, log_group_name=name, retention_in_days=parameters.log_retention_days)
    group.apply_removal_policy(RemovalPolicy.DESTROY)
    return group


def _without_generated_value(secret: secretsmanager.Secret) -> None:
    child = secret.node.default_child
    assert isinstance(child, secretsmanager.CfnSecret)
    # A generated value would be sent to the vendor as if it were a key.
    child.generate_secret_string = None


def _camel(name: str) -> str:
    return name.title().replace("_", "")
