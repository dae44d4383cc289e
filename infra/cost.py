"""What the stack costs in a month, as arithmetic: list prices, what a month uses, and the table of docs/aws.md.

`python -m infra.cost` prints the table. Prices are AWS's list prices of us-east-1 without free tiers, written down from
the pages beside them; those pages were not read by a program, and AWS changes them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

PRICES_AS_OF = "2025-06"
TICKERS = (1, 100, 10_000)
_GB = 1e9
_TB = 1e12
_DAYS = 365.25 / 12
_SESSIONS = 252 / 12
_HOURS = 24 * _DAYS


@dataclass(frozen=True)
class Prices:
    """US dollars."""

    # https://aws.amazon.com/s3/pricing/
    s3_gb_month: float = 0.023
    s3_write: float = 0.005 / 1000  # PUT, COPY, POST, LIST
    s3_read: float = 0.0004 / 1000  # GET and the rest
    # https://aws.amazon.com/athena/pricing/: 10 MB a query at least
    athena_tb: float = 5.0
    athena_least_bytes: float = 10e6
    # https://aws.amazon.com/glue/pricing/: a crawl is billed for ten minutes at least
    glue_dpu_hour: float = 0.44
    glue_request: float = 1.0 / 1e6
    # https://aws.amazon.com/lambda/pricing/
    lambda_request: float = 0.20 / 1e6
    lambda_gb_second: float = 0.0000166667
    # https://aws.amazon.com/firehose/pricing/: each record counts as a multiple of 5 KB
    firehose_gb: float = 0.029
    # https://aws.amazon.com/eventbridge/pricing/
    schedule: float = 1.0 / 1e6
    # https://aws.amazon.com/cloudwatch/pricing/
    alarm: float = 0.10
    metric: float = 0.30
    dashboard: float = 3.0
    logs_gb: float = 0.50
    # https://aws.amazon.com/secrets-manager/pricing/ and https://aws.amazon.com/kms/pricing/
    secret: float = 0.40
    key: float = 1.0
    # https://aws.amazon.com/fargate/pricing/, https://aws.amazon.com/rds/postgresql/pricing/, https://aws.amazon.com/vpc/pricing/
    fargate_vcpu_hour: float = 0.04048
    fargate_gb_hour: float = 0.004445
    postgres_hour: float = 0.016  # db.t4g.micro
    postgres_gb_month: float = 0.115
    address_hour: float = 0.005


@dataclass(frozen=True)
class Usage:
    """What a month uses, from above: each number is a round one that is not exceeded by much."""

    years_kept: float = 5
    raw_bytes_a_row: float = 90  # CSV as sent
    parquet_bytes_a_row: float = 40
    copies_of_tables: float = 3  # Parquet, Iceberg, what snapshots and old versions still hold
    weather_rows_a_day: float = 48  # two places
    # As counted by `benchmarks.aws_calls` and a test: 29 of a day, 12 of the reference tables, the page a second time.
    queries_a_day: float = 45
    scanning_queries_a_day: float = 10  # of those, the ones that read whole tables: eight views, two tables for checks
    scans_a_query: float = 2  # a view is read to count its rows and for the rows to be compared
    dashboard_openings: float = 20
    queries_an_opening: float = 21  # Grafana asks each panel and variable alone; the page asks 4
    s3_writes_a_day: float = 500
    s3_reads_a_day: float = 2000
    glue_requests_a_day: float = 500
    function_seconds_a_day: float = 120
    function_gb: float = 0.5
    log_bytes_a_day: float = 5e6
    # Without Dagster: three jobs of two workers, and a crawl.
    job_minutes: float = 4
    job_dpus: float = 2
    crawl_minutes: float = 10
    crawl_dpus: float = 2
    # Dagster on Fargate: two services, and runs.
    service_vcpu: float = 0.5
    service_gb: float = 2
    run_vcpu: float = 1
    run_gb: float = 4
    run_hours_a_day: float = 0.5


def monthly(tickers: int, prices: Prices | None = None, usage: Usage | None = None) -> dict[str, float]:
    """US dollars a month by service, for the stack with Dagster running elsewhere."""
    p, u = prices or Prices(), usage or Usage()
    rows = tickers * _SESSIONS * 12 * u.years_kept + u.weather_rows_a_day * 365.25 * u.years_kept
    table = rows * u.parquet_bytes_a_row
    stored = rows * u.raw_bytes_a_row + u.copies_of_tables * table
    small = (u.queries_a_day - u.scanning_queries_a_day) * _DAYS * p.athena_least_bytes
    whole = u.scanning_queries_a_day * _DAYS * max(u.scans_a_query * table, p.athena_least_bytes)
    whole += u.dashboard_openings * u.queries_an_opening * max(table, p.athena_least_bytes)
    arriving = tickers * _SESSIONS * u.raw_bytes_a_row * 3 + u.weather_rows_a_day * _DAYS * u.raw_bytes_a_row * 3
    counted = _counted()
    return {
        "S3, storage": stored / _GB * p.s3_gb_month,
        "S3, requests": _DAYS * (u.s3_writes_a_day * p.s3_write + u.s3_reads_a_day * p.s3_read),
        "Athena": (small + whole) / _TB * p.athena_tb,
        "Glue catalog": _DAYS * u.glue_requests_a_day * p.glue_request,
        "Lambda and Scheduler": _DAYS
        * (u.function_seconds_a_day * u.function_gb * p.lambda_gb_second + 3 * (p.lambda_request + p.schedule)),
        "Firehose": max(arriving, 2 * _DAYS * 5e3) / _GB * p.firehose_gb,
        "CloudWatch": counted["AWS::CloudWatch::Alarm"] * p.alarm
        + counted["metrics"] * p.metric
        + counted["AWS::CloudWatch::Dashboard"] * p.dashboard
        + _DAYS * u.log_bytes_a_day / _GB * p.logs_gb,
        "Secrets Manager and KMS": counted["AWS::SecretsManager::Secret"] * p.secret + counted["AWS::KMS::Key"] * p.key,
    }


def without_dagster(prices: Prices | None = None, usage: Usage | None = None) -> float:
    """US dollars a month that the Glue workflow adds, every night, where RunWithoutDagster is true."""
    p, u = prices or Prices(), usage or Usage()
    hours = (3 * u.job_minutes * u.job_dpus + u.crawl_minutes * u.crawl_dpus) / 60
    return _DAYS * hours * p.glue_dpu_hour


def fargate(prices: Prices | None = None, usage: Usage | None = None) -> float:
    """US dollars a month that the optional stack adds: two services, a task for each run, Postgres, two addresses."""
    p, u = prices or Prices(), usage or Usage()
    services = 2 * _HOURS * (u.service_vcpu * p.fargate_vcpu_hour + u.service_gb * p.fargate_gb_hour)
    runs = _DAYS * u.run_hours_a_day * (u.run_vcpu * p.fargate_vcpu_hour + u.run_gb * p.fargate_gb_hour)
    postgres = _HOURS * p.postgres_hour + 20 * p.postgres_gb_month
    return services + runs + postgres + 2 * _HOURS * p.address_hour + p.secret


def table() -> str:
    """The table of docs/aws.md, in Markdown."""
    columns = [monthly(tickers) for tickers in TICKERS]
    lines = [
        "| a month, US dollars | "
        + " | ".join(f"{tickers:,} ticker{'s' * (tickers > 1)}" for tickers in TICKERS)
        + " |",
        "|---|" + "---:|" * len(TICKERS),
        *(f"| {name} | " + " | ".join(f"{column[name]:.2f}" for column in columns) + " |" for name in columns[0]),
        "| **the stack** | " + " | ".join(f"**{sum(column.values()):.2f}**" for column in columns) + " |",
        *(
            f"| {name} | " + " | ".join([f"+{dollars:.2f}"] * len(TICKERS)) + " |"
            for name, dollars in (
                ("the Glue workflow every night, without Dagster", without_dagster()),
                ("Dagster on Fargate", fargate()),
            )
        ),
    ]
    return "\n".join(lines) + "\n"


def _counted() -> dict[str, int]:
    """How many there are of what is billed by the piece, from the template."""
    template = json.loads((Path(__file__).parent / "template.json").read_text(encoding="utf-8"))
    counts: dict[str, int] = {}
    own = set()
    for resource in template["Resources"].values():
        counts[resource["Type"]] = counts.get(resource["Type"], 0) + 1
        about = resource["Properties"]
        if about.get("Namespace") == "StockWeather":
            own.add((about["MetricName"], json.dumps(about.get("Dimensions", []))))
    # Rows published and in quarantine are sent for each dataset and raise no alarm.
    return {**counts, "metrics": len(own) + 4}


if __name__ == "__main__":
    print(table(), end="")  # noqa: T201 - this is what it is for
