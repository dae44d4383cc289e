"""Athena's workgroups: one for the pipeline, one for dashboards, so that each has its own cost. Both enforce their
settings: results encrypted in the results bucket, and a query that scans too much is stopped.
"""

from __future__ import annotations

from aws_cdk import aws_athena as athena
from constructs import Construct

from infra.stack.names import Names
from infra.stack.parameters import Parameters


class Athena(Construct):
    """The workgroups."""

    def __init__(self, scope: Construct, construct_id: str, names: Names, parameters: Parameters) -> None:
        super().__init__(scope, construct_id)
        for construct_id, name, description in (
            ("Pipeline", names.workgroup, "Queries of the pipeline and of its users."),
            ("Dashboards", names.dashboards_workgroup, "Queries of Grafana."),
        ):
            athena.CfnWorkGroup(
                self,
                construct_id,
                name=name,
                description=description,
                state="ENABLED",
                recursive_delete_option=True,
                work_group_configuration=athena.CfnWorkGroup.WorkGroupConfigurationProperty(
                    enforce_work_group_configuration=True,
                    publish_cloud_watch_metrics_enabled=True,
                    bytes_scanned_cutoff_per_query=parameters.scan_cutoff_bytes,
                    engine_version=athena.CfnWorkGroup.EngineVersionProperty(
                        selected_engine_version="Athena engine version 3"
                    ),
                    result_configuration=athena.CfnWorkGroup.ResultConfigurationProperty(
                        output_location=f"s3://{names.results_bucket}/athena/",
                        expected_bucket_owner=names.account,
                        encryption_configuration=athena.CfnWorkGroup.EncryptionConfigurationProperty(
                            encryption_option="SSE_S3"
                        ),
                    ),
                ),
            )
