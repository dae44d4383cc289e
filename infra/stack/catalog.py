"""The Glue Data Catalog: databases, the crawler that looks for drift, the data-quality rulesets. Tables and views are
made by the pipeline, from its contracts.
"""

from __future__ import annotations

import json
from pathlib import Path

from aws_cdk import aws_glue as glue
from constructs import Construct

from infra.stack import permissions
from infra.stack.acknowledged import acknowledge
from infra.stack.names import DATABASES, DATASETS, DRIFT_DATABASE, Names

RULESETS = Path(__file__).parents[1] / "glue" / "dqdl"
_DESCRIPTIONS = {
    "stock_weather": "Published tables and the views over them.",
    "stock_weather_raw": "As the vendors sent it, all strings.",
    "stock_weather_parquet": "Typed rows, before the audit.",
    "stock_weather_quarantine": "Rows set aside, with the reason.",
    DRIFT_DATABASE: "What the crawler sees in the raw zone; compared with the contracts, queried by nobody.",
}


class Catalog(Construct):
    """Databases, crawler and rulesets."""

    def __init__(self, scope: Construct, construct_id: str, names: Names) -> None:
        super().__init__(scope, construct_id)
        for database in (*DATABASES, DRIFT_DATABASE):
            glue.CfnDatabase(
                self,
                "".join(part.title() for part in database.split("_")),
                catalog_id=names.account,
                database_input=glue.CfnDatabase.DatabaseInputProperty(
                    name=database, description=_DESCRIPTIONS[database]
                ),
            )
        self._crawler(names)
        for path in sorted(RULESETS.glob("*.dqdl")):
            glue.CfnDataQualityRuleset(
                self,
                f"Rules{path.stem.title().replace('_', '')}",
                name=f"{names.prefix}-{path.stem}",
                description=f"The checks of {path.stem}, exported from its contract.",
                ruleset=path.read_text(encoding="utf-8"),
            )

    def _crawler(self, names: Names) -> None:
        role = permissions.role(
            self,
            "CrawlerRole",
            "Crawls the raw zone to find drift",
            permissions.service("glue", account=names.account),
            [
                permissions.list_buckets(names, names.raw_bucket),
                permissions.read_objects(names, names.raw_bucket, ["raw/*"]),
                permissions.write_catalog(names, (DRIFT_DATABASE,)),
                permissions.write_glue_logs(names, "/aws-glue/crawlers"),
            ],
        )
        # Without a classifier a crawler guesses whether the first line is a header.
        classifier = glue.CfnClassifier(
            self,
            "Csv",
            csv_classifier=glue.CfnClassifier.CsvClassifierProperty(
                name=names.crawler,
                delimiter=",",
                quote_symbol='"',
                contains_header="PRESENT",
                allow_single_column=False,
            ),
        )
        crawler = glue.CfnCrawler(
            self,
            "Crawler",
            name=names.crawler,
            description="Looks for drift between the raw files and the contracts; owns no schema.",
            role=role.role_arn,
            database_name=DRIFT_DATABASE,
            classifiers=[names.crawler],
            targets=glue.CfnCrawler.TargetsProperty(
                s3_targets=[
                    glue.CfnCrawler.S3TargetProperty(path=f"s3://{names.raw_bucket}/raw/{dataset}/")
                    for dataset in DATASETS
                ]
            ),
            schema_change_policy=glue.CfnCrawler.SchemaChangePolicyProperty(
                update_behavior="LOG", delete_behavior="LOG"
            ),
            recrawl_policy=glue.CfnCrawler.RecrawlPolicyProperty(recrawl_behavior="CRAWL_EVERYTHING"),
            configuration=json.dumps(
                {"Version": 1.0, "Grouping": {"TableGroupingPolicy": "CombineCompatibleSchemas"}}, sort_keys=True
            ),
        )
        crawler.add_resource_dependency(classifier)
        acknowledge(
            crawler,
            "AwsSolutions-GL1",
            "Its log names files and columns only; CloudWatch encrypts it with its own key.",
        )
