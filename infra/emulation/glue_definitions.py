"""Definitions that moto's Glue has no API for: classifiers and data quality rulesets. They are kept, not evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from infra.emulation.traffic import AwsError, Handler


class GlueDefinitions:
    """By name; a name is used once."""

    def __init__(self) -> None:
        self._rulesets: dict[str, dict[str, Any]] = {}
        self._classifiers: dict[str, dict[str, Any]] = {}

    def handlers(self) -> dict[tuple[str, str], Handler]:
        return {
            ("glue", "CreateDataQualityRuleset"): self._create_ruleset,
            ("glue", "GetDataQualityRuleset"): lambda p: _found(self._rulesets, p["Name"]),
            ("glue", "ListDataQualityRulesets"): lambda p: {"Rulesets": list(self._rulesets.values())},
            ("glue", "DeleteDataQualityRuleset"): lambda p: _deleted(self._rulesets, p["Name"]),
            ("glue", "CreateClassifier"): self._create_classifier,
            ("glue", "GetClassifier"): lambda p: {"Classifier": _found(self._classifiers, p["Name"])},
            ("glue", "GetClassifiers"): lambda p: {"Classifiers": list(self._classifiers.values())},
            ("glue", "DeleteClassifier"): lambda p: _deleted(self._classifiers, p["Name"]),
        }

    def _create_ruleset(self, parameters: dict[str, Any]) -> Mapping[str, Any]:
        _add(self._rulesets, parameters["Name"], parameters)
        return {"Name": parameters["Name"]}

    def _create_classifier(self, parameters: dict[str, Any]) -> Mapping[str, Any]:
        definition = next(iter(parameters.values()))
        _add(self._classifiers, definition["Name"], parameters)
        return {}


def _add(kept: dict[str, dict[str, Any]], name: str, definition: dict[str, Any]) -> None:
    if name in kept:
        raise AwsError("AlreadyExistsException", f"{name} already exists")
    # What boto3 was not given is not kept as null.
    kept[name] = {
        key: _given(value)
        for key, value in definition.items()
        if key not in ("Tags", "ClientToken") and value is not None
    }


def _given(value: Any) -> Any:
    return {key: item for key, item in value.items() if item is not None} if isinstance(value, dict) else value


def _found(kept: Mapping[str, dict[str, Any]], name: str) -> dict[str, Any]:
    if name not in kept:
        raise AwsError("EntityNotFoundException", f"{name} is not found")
    return kept[name]


def _deleted(kept: dict[str, dict[str, Any]], name: str) -> Mapping[str, Any]:
    _found(kept, name)
    del kept[name]
    return {"Name": name}
