"""The committed templates as the tests read them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

INFRA = Path(__file__).parents[2] / "infra"
STACK = INFRA / "template.json"
DAGSTER_STACK = INFRA / "dagster_template.json"


def load(path: Path = STACK) -> dict[str, Any]:
    template: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return template


def of_kind(template: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    """The resources of a kind by logical id; there is at least one."""
    found = {name: about for name, about in template["Resources"].items() if about["Type"] == kind}
    assert found, f"the template has no {kind}"
    return found


def flat(value: Any) -> str:
    """A template value as text, references as `${Name}` or `${Name.Attribute}`."""
    if isinstance(value, (str, int, float)):
        return str(value)
    ((function, argument),) = value.items()
    if function == "Ref":
        return f"${{{argument}}}"
    if function == "Fn::GetAtt":
        return "${" + ".".join(argument) + "}"
    if function == "Fn::Join":
        separator, parts = argument
        return str(separator).join(flat(part) for part in parts)
    if function == "Fn::Sub":
        return str(argument if isinstance(argument, str) else argument[0])
    raise AssertionError(f"{function} is not read here")


def statements(role: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What a role, or a policy added to one, allows."""
    about = role["Properties"]
    for policy in about.get("Policies", [about]):
        yield from policy["PolicyDocument"]["Statement"]


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
