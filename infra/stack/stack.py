"""The stack: its parameters, its parts wired together, its tags, and what users get to know about it."""

from __future__ import annotations

from aws_cdk import CfnOutput, DefaultStackSynthesizer, Stack, Tags
from constructs import Construct

from infra.stack.alerts import Alerts
from infra.stack.athena import Athena
from infra.stack.catalog import Catalog
from infra.stack.glue import GlueJobs
from infra.stack.ingestion import Ingestion
from infra.stack.monitoring import Monitoring
from infra.stack.names import Names
from infra.stack.parameters import Parameters
from infra.stack.roles import Roles
from infra.stack.storage import Storage


class StockWeatherStack(Stack):
    """Everything but Dagster itself."""

    def __init__(self, scope: Construct, construct_id: str) -> None:
        super().__init__(
            scope,
            construct_id,
            description="Daily stock prices and weather: raw zone, catalog, tables, ingestion, checks, alerts",
            synthesizer=DefaultStackSynthesizer(generate_bootstrap_version_rule=False),
            analytics_reporting=False,
        )
        parameters = Parameters(self)
        names = Names(parameters.prefix)
        alerts = Alerts(self, "Alerts", names, parameters)
        Storage(self, "Storage", names, parameters)
        Catalog(self, "Catalog", names)
        Athena(self, "Athena", names, parameters)
        ingestion = Ingestion(self, "Ingestion", names, parameters, alerts)
        GlueJobs(self, "Glue", names, parameters, alerts)
        Monitoring(self, "Monitoring", names, parameters, alerts)
        roles = Roles(self, "Roles", names, alerts, ingestion)
        # The tag that costs are told apart by, once it is activated in the account's billing.
        Tags.of(self).add("application", parameters.prefix)

        self._setting("RawBucket", names.raw_bucket)
        self._setting("ParquetBucket", names.parquet_bucket)
        self._setting("ResultsBucket", names.results_bucket)
        self._setting("AthenaWorkgroup", names.workgroup)
        self._setting("AlertTopicArn", alerts.topic.topic_arn)
        self._setting("PolygonSecretArn", ingestion.secret.secret_arn)
        self._setting("IngestFunction", names.ingest_function)
        CfnOutput(self, "DagsterRoleArn", value=roles.dagster.role_arn, description="The role Dagster works under")
        CfnOutput(
            self, "GrafanaRoleArn", value=roles.grafana.role_arn, description="The role of Grafana's data sources"
        )
        CfnOutput(self, "DashboardsWorkgroup", value=names.dashboards_workgroup, description="Grafana's workgroup")
        CfnOutput(self, "DeadLetterQueueUrl", value=alerts.dead_letters.queue_url, description="What was not delivered")

    def _setting(self, name: str, value: str) -> None:
        """An output that is a setting of the pipeline: RawBucket is STOCK_WEATHER_RAW_BUCKET."""
        words = "".join(f"_{letter}" if letter.isupper() else letter.upper() for letter in name)
        CfnOutput(self, name, value=value, description=f"STOCK_WEATHER{words}")
