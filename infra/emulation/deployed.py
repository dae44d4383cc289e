"""The committed stack, deployed on an emulated account with the repository's code, for the tests and the demo.

The packages hold the sources only: what they import is this environment's, so that no test needs an index.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import boto3

from infra import deploy, package
from infra.aws import Account, open_account
from infra.emulation.server import EmulatedAws, emulated_aws

STACK = "stock-weather"


def packed(path: Path, *folders: str) -> bytes:
    """The zip of some folders of the repository, as the package of a function or a job."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(package.ROOT / "infra/__init__.py", "infra/__init__.py")
        for folder in folders:
            for file in (package.ROOT / folder).rglob("*"):
                if file.suffix in (".py", ".sql", ".typed"):
                    archive.write(file, file.relative_to(package.ROOT))
    return path.read_bytes()


@contextmanager
def deployed_stack(vendors_url: str, folder: Path) -> Iterator[tuple[EmulatedAws, Account]]:
    """An account with the stack, which fetches from a sandbox. The environment leads there meanwhile."""
    with emulated_aws() as aws, patch.dict(os.environ, aws.environment):
        account = open_account()
        bucket = deploy.artifact_bucket(account, STACK)
        files = {
            "ingest.zip": packed(folder / "ingest.zip", "stock_weather_pipeline", "infra/ingest"),
            "glue/package.whl": packed(folder / "package.whl", "stock_weather_pipeline"),
            **{f"glue/{s}": (package.ROOT / "infra/glue" / s).read_bytes() for s in package.GLUE_SCRIPTS},
        }
        for key, data in files.items():
            account.s3.put_object(Bucket=bucket, Key=key, Body=data)
        chosen = {
            "ArtifactBucket": bucket,
            "IngestPackageKey": "ingest.zip",
            "GlueScriptsPrefix": "glue",
            "GlueModules": f"s3://{bucket}/glue/package.whl",
            "OpenMeteoUrl": vendors_url,
            "PolygonUrl": vendors_url,
            "PolygonCallsPerMinute": "6000",
            "RunWithoutDagster": "true",
        }
        assert deploy.plan(account, STACK, bucket, chosen)
        outputs = deploy.carry_out(account, STACK)
        boto3.client("secretsmanager").put_secret_value(SecretId=outputs["PolygonSecretArn"], SecretString="a-key")
        yield aws, account
