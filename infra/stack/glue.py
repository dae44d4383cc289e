"""The pipeline's three steps as Glue jobs, and the workflow that chains them, for those who run without Dagster."""

from __future__ import annotations

from aws_cdk import aws_glue as glue
from aws_cdk import aws_iam as iam
from constructs import Construct

from infra.stack import permissions
from infra.stack.acknowledged import acknowledge
from infra.stack.alerts import Alerts
from infra.stack.ingestion import log_group
from infra.stack.names import DATABASES, DRIFT_DATABASE, JOBS, Names
from infra.stack.parameters import Parameters

# The first Glue with a Python the package supports; its Python shell ends at 3.9.
_GLUE_VERSION = "5.0"
_WORKER = "G.1X"
_WORKERS = 2  # the least there is; the work is Athena's
_TIMEOUT_MINUTES = 120
_SCRIPT = {
    "create-parquet": "create_parquet.py",
    "check-quality": "check_quality.py",
    "publish-prod": "publish_prod.py",
}
_DOES = {
    "create-parquet": "Takes in what landed, types it into Parquet, audits it",
    "check-quality": "Judges the audited days and the drift; fails when one is bad",
    "publish-prod": "Publishes the good days and makes the views",
}


class GlueJobs(Construct):
    """Jobs, their roles, the workflow and its triggers."""

    def __init__(
        self, scope: Construct, construct_id: str, names: Names, parameters: Parameters, alerts: Alerts
    ) -> None:
        super().__init__(scope, construct_id)
        self._names, self._parameters, self._alerts = names, parameters, alerts
        log_group(self, "Log", names.glue_log_group, parameters)
        access = {
            "create-parquet": [
                permissions.write_objects(names, names.raw_bucket, (*permissions.RAW_KEYS, *permissions.LANDING_KEYS)),
                permissions.write_objects(names, names.parquet_bucket, permissions.PARQUET_KEYS),
                permissions.write_catalog(names),
            ],
            "check-quality": [
                permissions.read_objects(names, names.raw_bucket, permissions.RAW_KEYS),
                permissions.read_objects(names, names.parquet_bucket, permissions.PARQUET_KEYS),
                permissions.read_catalog(names, (*DATABASES, DRIFT_DATABASE)),
            ],
            "publish-prod": [
                permissions.read_objects(names, names.raw_bucket, permissions.RAW_KEYS),
                permissions.read_objects(names, names.parquet_bucket, permissions.PARQUET_KEYS),
                permissions.write_catalog(names),
            ],
        }
        workflow = glue.CfnWorkflow(
            self,
            "Workflow",
            name=names.workflow,
            description="Drift, Parquet, checks, prod: one after the other.",
            max_concurrent_runs=1,
        )
        jobs = {step: self._job(step, access[step]) for step in JOBS}
        self._trigger(workflow, "start", None, glue.CfnTrigger.ActionProperty(crawler_name=names.crawler))
        before = glue.CfnTrigger.ConditionProperty(
            logical_operator="EQUALS", crawler_name=names.crawler, crawl_state="SUCCEEDED"
        )
        for step in JOBS:
            trigger = self._trigger(workflow, step, before, glue.CfnTrigger.ActionProperty(job_name=names.job(step)))
            trigger.add_resource_dependency(jobs[step])
            before = glue.CfnTrigger.ConditionProperty(
                logical_operator="EQUALS", job_name=names.job(step), state="SUCCEEDED"
            )

    def _job(self, step: str, access: list[iam.PolicyStatement]) -> glue.CfnJob:
        names, parameters = self._names, self._parameters
        role = permissions.role(
            self,
            f"{_camel(step)}Role",
            _DOES[step],
            permissions.service("glue", account=names.account),
            [
                permissions.allow(("s3:GetObject",), [names.bucket_arn(parameters.artifact_bucket, "glue/*")]),
                permissions.list_buckets(names, names.raw_bucket, names.parquet_bucket),
                *permissions.query(names, names.workgroup),
                *access,
                # The audit's verdicts are a prod table: every step reads it, and what judges writes it.
                permissions.write_objects(names, names.parquet_bucket, permissions.PROD_KEYS),
                *permissions.report(names, self._alerts.topic.topic_arn, self._alerts.key.key_arn),
                permissions.write_logs(names, names.glue_log_group),
                permissions.write_glue_logs(names, "/aws-glue/jobs/error"),
                permissions.write_glue_logs(names, "/aws-glue/jobs/output"),
            ],
        )
        settings = {
            "deployment": "aws",
            "tickers": parameters.tickers,
            "locations": parameters.locations,
            "raw_bucket": names.raw_bucket,
            "parquet_bucket": names.parquet_bucket,
            "results_bucket": names.results_bucket,
            "athena_workgroup": names.workgroup,
            "alert_topic_arn": self._alerts.topic.topic_arn,
        }
        job = glue.CfnJob(
            self,
            _camel(step),
            name=names.job(step),
            description=_DOES[step],
            role=role.role_arn,
            glue_version=_GLUE_VERSION,
            worker_type=_WORKER,
            number_of_workers=_WORKERS,
            timeout=_TIMEOUT_MINUTES,
            max_retries=0,
            execution_property=glue.CfnJob.ExecutionPropertyProperty(max_concurrent_runs=1),
            command=glue.CfnJob.JobCommandProperty(
                name="glueetl",
                python_version="3",
                script_location=f"s3://{parameters.artifact_bucket}/{parameters.glue_scripts_prefix}/{_SCRIPT[step]}",
            ),
            default_arguments={
                "--job-language": "python",
                "--enable-continuous-cloudwatch-log": "true",
                "--continuous-log-logGroup": names.glue_log_group,
                "--additional-python-modules": parameters.glue_modules,
                # Everything is listed with its version; nothing is left to be resolved at start.
                "--python-modules-installer-option": "--no-deps",
                **{f"--STOCK_WEATHER_{name.upper()}": value for name, value in settings.items()},
            },
        )
        acknowledge(
            job, "AwsSolutions-GL1", "Logs hold counts and keys of objects; CloudWatch encrypts them with its own key."
        )
        acknowledge(job, "AwsSolutions-GL3", "A job keeps no bookmark: what was done is in the lake.")
        return job

    def _trigger(
        self,
        workflow: glue.CfnWorkflow,
        name: str,
        after: glue.CfnTrigger.ConditionProperty | None,
        action: glue.CfnTrigger.ActionProperty,
    ) -> glue.CfnTrigger:
        trigger = glue.CfnTrigger(
            self,
            f"{_camel(name)}Trigger",
            name=f"{self._names.prefix}-{name}",
            workflow_name=self._names.workflow,
            type="ON_DEMAND" if after is None else "CONDITIONAL",
            start_on_creation=None if after is None else True,
            predicate=None if after is None else glue.CfnTrigger.PredicateProperty(conditions=[after]),
            actions=[action],
        )
        trigger.add_resource_dependency(workflow)
        return trigger


def _camel(name: str) -> str:
    return name.title().replace("-", "")
