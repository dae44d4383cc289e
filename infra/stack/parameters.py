"""What may be chosen at deployment: the parameters of the stack, each with its default and the valid values."""

from __future__ import annotations

from aws_cdk import CfnParameter
from constructs import Construct

RETENTIONS = [1, 3, 5, 7, 14, 30, 60, 90, 180, 365]


class Parameters:
    """The parameters by name. Those without a default are filled in by `python -m infra deploy`."""

    def __init__(self, scope: Construct) -> None:
        self._scope = scope
        self.prefix = self._text(
            "Prefix",
            "What every resource's name begins with.",
            default="stock-weather",
            pattern="^[a-z][a-z0-9-]{1,18}[a-z0-9]$",
            constraint="3 to 20 lower-case letters, digits and dashes, beginning with a letter",
        )
        self.tickers = self._text("Tickers", "Tickers, separated by commas; * is the whole market.", default="NVDA")
        self.locations = self._text(
            "Locations", "Places whose weather is kept, as in STOCK_WEATHER_LOCATIONS.", default="New York;Santa Clara"
        )
        self.alarm_email = self._text(
            "AlarmEmail",
            "Who gets alarms and alerts; empty for nobody.",
            default="",
            pattern="^$|^[^@ ]+@[^@ ]+$",
            constraint="an e-mail address, or empty",
        )
        self.without_dagster = self._text(
            "RunWithoutDagster",
            "true: EventBridge fetches every night and starts the Glue workflow. false: Dagster does both.",
            default="false",
            allowed=["true", "false"],
        )
        self.stock_prices_schedule = self._text(
            "StockPricesSchedule", "When prices are fetched, New York time.", default="cron(30 0 ? * TUE-SAT *)"
        )
        self.weather_schedule = self._text(
            "WeatherSchedule", "When weather is fetched, New York time.", default="cron(45 0 * * ? *)"
        )
        self.workflow_schedule = self._text(
            "WorkflowSchedule", "When the Glue workflow starts, New York time.", default="cron(30 1 * * ? *)"
        )
        self.ingest_concurrency = self._number(
            "IngestConcurrency",
            "Functions that may fetch at once; -1 reserves none, for accounts with too small a limit to reserve from.",
            default=2,
            minimum=-1,
            maximum=100,
        )
        self.scan_cutoff_bytes = self._number(
            "ScanCutoffBytes",
            "A query that scans more is stopped by Athena (10 GB cost 5 cents).",
            default=10_000_000_000,
            minimum=10_000_000,
            maximum=7_000_000_000_000_000,
        )
        self.daily_scan_alarm_bytes = self._number(
            "DailyScanAlarmBytes",
            "The pipeline scanning more within a day raises an alarm (100 GB cost 50 cents).",
            default=100_000_000_000,
            minimum=10_000_000,
            maximum=7_000_000_000_000_000,
        )
        self.publish_lag_alarm_days = self._number(
            "PublishLagAlarmDays",
            "A table whose newest published day is more partitions behind raises an alarm.",
            default=2,
            minimum=1,
            maximum=30,
        )
        self.log_retention_days = self._number(
            "LogRetentionDays", "How long logs are kept.", default=30, allowed=RETENTIONS
        )
        self.superseded_retention_days = self._number(
            "SupersededRetentionDays", "How long replaced raw files are kept.", default=365, minimum=1, maximum=3650
        )
        self.landing_retention_days = self._number(
            "LandingRetentionDays",
            "How long taken and rejected landing objects are kept.",
            default=90,
            minimum=1,
            maximum=3650,
        )
        self.noncurrent_retention_days = self._number(
            "NoncurrentRetentionDays",
            "How long overwritten and deleted objects can be brought back.",
            default=30,
            minimum=1,
            maximum=3650,
        )
        self.results_retention_days = self._number(
            "ResultsRetentionDays", "How long query results are kept.", default=14, minimum=1, maximum=365
        )
        self.artifact_bucket = self._text(
            "ArtifactBucket", "The bucket with the packages; the deploy command makes it."
        )
        self.ingest_package_key = self._text("IngestPackageKey", "The key of the Lambda package.")
        self.glue_scripts_prefix = self._text(
            "GlueScriptsPrefix", "The prefix of the Glue entry scripts, without a slash."
        )
        self.glue_modules = self._text(
            "GlueModules", "What Glue installs before a job: the package's wheel and its pinned dependencies."
        )

    def _text(
        self,
        name: str,
        description: str,
        default: str | None = None,
        pattern: str | None = None,
        constraint: str | None = None,
        allowed: list[str] | None = None,
    ) -> str:
        return CfnParameter(
            self._scope,
            name,
            type="String",
            description=description,
            default=default,
            allowed_pattern=pattern,
            constraint_description=constraint,
            allowed_values=allowed,
        ).value_as_string

    def _number(
        self,
        name: str,
        description: str,
        default: int,
        minimum: int | None = None,
        maximum: int | None = None,
        allowed: list[int] | None = None,
    ) -> float:
        return CfnParameter(
            self._scope,
            name,
            type="Number",
            description=description,
            default=str(default) if allowed else default,
            min_value=minimum,
            max_value=maximum,
            allowed_values=[str(value) for value in allowed] if allowed else None,
        ).value_as_number
