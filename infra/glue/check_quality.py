"""Glue job: the audit judges the days' Parquet, the crawler's tables are compared with the contracts.

Fails, with what is wrong, when a day or a contract is. The verdicts are kept where publishing reads them.
"""

from __future__ import annotations

from datetime import datetime, timezone

from stock_weather_pipeline.automation.alerts import Alert, close_alert, open_alert
from stock_weather_pipeline.cloud.drift import crawled_tables, drift
from stock_weather_pipeline.cloud.jobs import Step, run_step
from stock_weather_pipeline.cloud.metrics import FAILED_CHECKS, ROWS_QUARANTINED, Datum, put_metrics
from stock_weather_pipeline.lake.aws.session import AwsSession
from stock_weather_pipeline.layers.audit import audit
from stock_weather_pipeline.layers.catalog import problems


def check_quality(step: Step) -> None:
    """A problem is alerted on once, and once more when it has healed."""
    now = datetime.now(timezone.utc)
    metrics = []
    for dataset in step.datasets:
        days = step.days(dataset)
        findings = audit(step.lake, dataset, days, problems(step.lake, dataset, days)) if days else []
        failed = [finding for finding in findings if not finding.passed]
        told = "; ".join(f"{finding.day}: {finding.sentence}" for finding in failed[:10])
        _tell(step, f"quality:{dataset.name}", f"{dataset.name}: checks failed", told, dataset.name)
        if failed:
            step.problems.append(f"{len(failed)} checks of {dataset.name} failed. {told}")
        quarantined = sum(finding.quarantined_rows or 0 for finding in findings)
        metrics.append(Datum(FAILED_CHECKS, len(failed), now, dataset.name))
        metrics.append(Datum(ROWS_QUARANTINED, quarantined, now, dataset.name))
        step.report[dataset.name] = {"days_judged": len(days), "checks_failed": len(failed)}
    if step.settings.deployment == "aws":
        put_metrics(step.settings, metrics)
        _check_drift(step)


def _check_drift(step: Step) -> None:
    found = drift(crawled_tables(AwsSession()))
    for dataset in step.datasets:
        told = "; ".join(found.get(dataset.name, []))
        _tell(step, f"drift:{dataset.name}", f"{dataset.name}: the raw files drift", told, dataset.name)
        if told:
            step.problems.append(f"The raw files of {dataset.name} drift from the contract. {told}")
        step.report[dataset.name]["drift"] = found.get(dataset.name, [])


def _tell(step: Step, problem: str, title: str, told: str, dataset: str) -> None:
    if told:
        open_alert(step.settings, step.lake, Alert(problem, title, told, dataset=dataset))
    else:
        close_alert(step.settings, step.lake, problem, f"All is well from {step.first} to {step.last}.")


if __name__ == "__main__":
    run_step("check_quality", check_quality)
