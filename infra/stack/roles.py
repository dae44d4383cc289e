"""The roles of those who work with the stack from outside: Dagster and Grafana."""

from __future__ import annotations

from aws_cdk import aws_iam as iam
from constructs import Construct

from infra.stack import permissions
from infra.stack.alerts import Alerts
from infra.stack.ingestion import Ingestion
from infra.stack.names import DATABASES, DRIFT_DATABASE, JOBS, PROD_DATABASE, Names


class Roles(Construct):
    """Dagster's role and Grafana's."""

    def __init__(self, scope: Construct, construct_id: str, names: Names, alerts: Alerts, ingestion: Ingestion) -> None:
        super().__init__(scope, construct_id)
        account = iam.AccountRootPrincipal()
        self.dagster = permissions.role(
            self,
            "Dagster",
            "Runs the pipeline: on Fargate, or for whom the account lets assume it",
            iam.CompositePrincipal(account, permissions.service("ecs-tasks", account=names.account)),
            dagster_statements(names, alerts, ingestion),
        )
        self.grafana = permissions.role(
            self,
            "Grafana",
            "Reads published tables and metrics",
            iam.CompositePrincipal(account, permissions.service("grafana", account=names.account)),
            [
                *permissions.query(names, names.dashboards_workgroup),
                permissions.allow(("athena:ListWorkGroups", "athena:ListDataCatalogs"), ["*"]),
                permissions.allow(
                    (
                        "athena:GetDataCatalog",
                        "athena:ListDatabases",
                        "athena:ListTableMetadata",
                        "athena:GetTableMetadata",
                    ),
                    [names.arn("athena", "datacatalog/AwsDataCatalog")],
                ),
                permissions.read_catalog(names, (PROD_DATABASE,)),
                permissions.list_buckets(names, names.parquet_bucket),
                permissions.read_objects(names, names.parquet_bucket, permissions.PROD_KEYS),
                permissions.allow(("cloudwatch:GetMetricData",), ["*"]),
            ],
        )


def dagster_statements(names: Names, alerts: Alerts, ingestion: Ingestion) -> list[iam.PolicyStatement]:
    return [
        permissions.list_buckets(names, names.raw_bucket, names.parquet_bucket),
        permissions.write_objects(
            names,
            names.raw_bucket,
            (*permissions.RAW_KEYS, *permissions.LANDING_KEYS, *permissions.HANDOVER_KEYS),
        ),
        permissions.write_objects(names, names.parquet_bucket, (*permissions.PARQUET_KEYS, *permissions.PROD_KEYS)),
        permissions.write_catalog(names),
        permissions.read_catalog(names, (*DATABASES, DRIFT_DATABASE)),
        *permissions.query(names, names.workgroup),
        permissions.allow(("lambda:InvokeFunction",), [names.arn("lambda", f"function:{names.ingest_function}")]),
        permissions.allow(
            ("glue:StartJobRun", "glue:GetJobRun", "glue:BatchStopJobRun"),
            [names.arn("glue", f"job/{names.job(step)}") for step in JOBS],
        ),
        permissions.read_secret(ingestion.secret.secret_arn),
        *permissions.report(names, alerts.topic.topic_arn, alerts.key.key_arn),
    ]
