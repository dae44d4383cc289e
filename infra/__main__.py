"""`python -m infra COMMAND`: the AWS stack from the command line. Exit codes: 0 fine, 1 it failed, 2 wrong usage.

Commands parse and print; what they do is in the modules beside this one. All but `synth` need Python and boto3 only.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

import click

from infra.errors import InfraError

if TYPE_CHECKING:
    from infra.aws import Account
    from infra.deploy import Change

_OF_THE_USER = ("AWS_", "STOCK_WEATHER_", "POLYGON_API_KEY")

_stack = click.option("--stack", default="stock-weather", show_default=True, help="The stack's name.")
_dagster_stack = click.option(
    "--dagster-stack", default="stock-weather-dagster", show_default=True, help="The optional stack's name."
)
_yes = click.option("--yes", is_flag=True, help="Do not ask.")
_set = click.option("--set", "assignments", multiple=True, metavar="NAME=VALUE", help="A parameter of the stack.")


class _Commands(click.Group):
    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except InfraError as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(1)


@click.group(cls=_Commands)
def main() -> None:
    """Deploy the pipeline to the AWS account of your credentials, look at it, take it down."""


@main.command()
def synth() -> None:
    """Write the templates anew from infra/stack (needs the CDK: make aws-tools)."""
    from infra import synth as synthesis

    for path in synthesis.write():
        click.echo(path)


@main.command()
@click.option("--to", "folder", type=click.Path(path_type=Path), default=Path("build/aws"), show_default=True)
def package(folder: Path) -> None:
    """Build what runs on Lambda and Glue."""
    from infra.package import build

    for key, path in build(folder).files.items():
        click.echo(f"{path.stat().st_size / 1e6:8.1f} MB  {key}")


@main.command()
@_stack
@_set
@_yes
def deploy(stack: str, assignments: Iterable[str], yes: bool) -> None:
    """Create or update the stack, and print the settings for it as lines of .env."""
    from infra.aws import open_account
    from infra.deploy import settings_lines

    account = open_account()
    if _carried_out(account, stack, _planned(account, stack, assignments), yes):
        for line in settings_lines(account, stack):
            click.echo(line)


@main.command()
@_stack
@_set
def diff(stack: str, assignments: Iterable[str]) -> None:
    """Show what deploying would change, and change nothing but the bucket of packages."""
    from infra import deploy as deployment
    from infra.aws import open_account

    account = open_account()
    changes = _planned(account, stack, assignments)
    deployment.discard(account, stack)
    if changes is None:
        click.echo(f"{stack} is up to date.", err=True)


@main.command("deploy-dagster")
@_stack
@_dagster_stack
@_set
@_yes
def deploy_dagster(stack: str, dagster_stack: str, assignments: Iterable[str], yes: bool) -> None:
    """Create or update the optional stack that runs Dagster, beside a deployed main stack."""
    from infra import deploy as deployment
    from infra.aws import open_account

    account = open_account()
    main_stack, chosen = deployment.outputs(account, stack), _chosen(assignments)
    taken = {name: main_stack[name] for name in deployment.parameters_of(deployment.DAGSTER_TEMPLATE) & set(main_stack)}
    bucket = deployment.artifact_bucket(account, chosen.get("Prefix", "stock-weather"))
    changes = deployment.plan(account, dagster_stack, bucket, {**taken, **chosen}, deployment.DAGSTER_TEMPLATE)
    _show(changes)
    _carried_out(account, dagster_stack, changes, yes)


@main.command("destroy-dagster")
@_dagster_stack
@_yes
def destroy_dagster(dagster_stack: str, yes: bool) -> None:
    """Take the optional stack down; a snapshot of its database is kept."""
    from infra.aws import open_account
    from infra.destroy import delete_stack

    account = open_account()
    if not yes:
        click.confirm(f"Destroy {dagster_stack} in account {account.number}, {account.region}?", abort=True, err=True)
    delete_stack(account, dagster_stack)


@main.command()
@_stack
@click.option("--prefix", default="stock-weather", show_default=True, help="The stack's parameter Prefix.")
@click.option("--delete-data", is_flag=True, help="Also delete every object the pipeline made, for good.")
@_yes
def destroy(stack: str, prefix: str, delete_data: bool, yes: bool) -> None:
    """Take the stack down. Data is kept unless told otherwise."""
    from infra.aws import open_account
    from infra.destroy import destroy as take_down

    account = open_account()
    what = f"{stack} AND ALL ITS DATA" if delete_data else f"{stack}, keeping its data"
    if not yes:
        click.confirm(f"Destroy {what}, in account {account.number}, {account.region}?", abort=True, err=True)
    for bucket in take_down(account, stack, prefix, delete_data):
        click.echo(f"kept: s3://{bucket}")


@main.command()
@_stack
def smoke(stack: str) -> None:
    """Look for every resource at its service, and let the stack work once."""
    from infra import smoke as smoking
    from infra.aws import open_account

    account = open_account()
    findings = [*smoking.look(account, stack), *smoking.work(account, stack)]
    bad = [finding for finding in findings if finding.problem]
    for finding in bad:
        click.echo(f"BAD   {finding.what}: {finding.problem}")
    click.echo(f"{len(findings) - len(bad)} of {len(findings)} are well.")
    if bad:
        raise InfraError(f"{len(bad)} parts of {stack} are not as they should be.")


@main.command()
@click.option("--days", type=click.IntRange(1, 366), default=7, show_default=True, help="How many days back from now.")
def demo(days: int) -> None:
    """Deploy to an emulated account on this machine, and run the pipeline there (needs make test's environment)."""
    # Whose account, settings and key this machine has is none of the demo's; moto asks for the profile when imported.
    others = {name: value for name, value in os.environ.items() if not name.startswith(_OF_THE_USER)}
    with patch.dict(os.environ, others, clear=True):
        try:
            from infra.demo import show
        except ModuleNotFoundError as error:
            package = (error.name or str(error)).partition(".")[0]
            raise InfraError(f"The emulated account needs {package}: run `make aws-demo`, which installs it.") from None
        code = show(lambda line: click.echo(line), days)
    if code:
        sys.exit(code)


@main.command("put-key")
@_stack
def put_key(stack: str) -> None:
    """Put the key of Polygon.io / Massive into the stack's secret; read from standard input, or asked for."""
    from infra import deploy as deployment
    from infra.aws import CONFIG, open_account
    from infra.errors import aws_errors

    account = open_account()
    arn = deployment.outputs(account, stack)["PolygonSecretArn"]
    key = (click.prompt("Key", hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.read()).strip()
    if not key or not key.isprintable() or " " in key:
        raise InfraError("That is no key: a key is one word of printable characters.")
    with aws_errors("put the key into the secret"):
        account.session.client("secretsmanager", config=CONFIG).put_secret_value(SecretId=arn, SecretString=key)


def _planned(account: Account, stack: str, assignments: Iterable[str]) -> list[Change] | None:
    """Packages built and uploaded, the change set made and shown."""
    from infra import deploy as deployment
    from infra.package import build

    chosen = _chosen(assignments)
    bucket = deployment.artifact_bucket(account, chosen.get("Prefix", "stock-weather"))
    with tempfile.TemporaryDirectory() as folder:
        artifacts = build(Path(folder))
        for key in deployment.upload(account, bucket, artifacts):
            click.echo(f"uploaded s3://{bucket}/{key}", err=True)
    changes = deployment.plan(account, stack, bucket, {**artifacts.parameters(bucket), **chosen})
    _show(changes)
    return changes


def _show(changes: list[Change] | None) -> None:
    for change in changes or ():
        click.echo(str(change), err=True)


def _carried_out(account: Account, stack: str, changes: list[Change] | None, yes: bool) -> bool:
    """Carry out what was planned, if that is wanted. True when the stack is as it was asked for."""
    from infra import deploy as deployment

    if changes is None:
        click.echo(f"{stack} is up to date.", err=True)
    elif yes or click.confirm(f"Carry out these {len(changes)} changes in account {account.number}?", err=True):
        deployment.carry_out(account, stack)
    else:
        deployment.discard(account, stack)
        click.echo("Nothing was changed.", err=True)
        return False
    return True


def _chosen(assignments: Iterable[str]) -> dict[str, str]:
    pairs = [assignment.partition("=") for assignment in assignments]
    for name, separator, _ in pairs:
        if not (name and separator):
            raise click.UsageError(f"--set {name} is no assignment; write --set AlarmEmail=me@example.com.")
    return {name: value for name, _, value in pairs}


if __name__ == "__main__":
    main()
