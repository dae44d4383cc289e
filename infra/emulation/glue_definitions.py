"""Definitions in Glue as far as moto falls short of them: classifiers and data quality rulesets, which are kept and not
evaluated, and updates of tables, whose expected version moto does not look at.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.glue.exceptions import EntityNotFoundException
from moto.glue.models import glue_backends

from infra.emulation.glue_tables import REGION
from infra.emulation.traffic import AwsError, Handler


class GlueDefinitions:
    """By name; a name is used once."""

    def __init__(self) -> None:
        self._rulesets: dict[str, dict[str, Any]] = {}
        self._classifiers: dict[str, dict[str, Any]] = {}
        self._updating = threading.Lock()

    def handlers(self) -> dict[tuple[str, str], Handler]:
        return {
            ("glue", "CreateDataQualityRuleset"): self._create_ruleset,
            ("glue", "GetDataQualityRuleset"): lambda p: _found(self._rulesets, p["Name"]),
            ("glue", "ListDataQualityRulesets"): lambda p: {"Rulesets": list(self._rulesets.values())},
            ("glue", "DeleteDataQualityRuleset"): lambda p: _deleted(self._rulesets, p["Name"]),
            ("glue", "CreateClassifier"): self._create_classifier,
            ("glue", "GetClassifier"): lambda p: {"Classifier": _found(self._classifiers, p["Name"])},
            ("glue", "GetClassifiers"): lambda p: {"Classifiers": list(self._classifiers.values())},
            ("glue", "UpdateTable"): self._update_table,
            ("glue", "DeleteClassifier"): lambda p: _deleted(self._classifiers, p["Name"]),
        }

    def _create_ruleset(self, parameters: dict[str, Any]) -> Mapping[str, Any]:
        _add(self._rulesets, parameters["Name"], parameters)
        return {"Name": parameters["Name"]}

    def _create_classifier(self, parameters: dict[str, Any]) -> Mapping[str, Any]:
        definition = next(iter(parameters.values()))
        _add(self._classifiers, definition["Name"], parameters)
        return {}

    def _update_table(self, parameters: dict[str, Any]) -> Mapping[str, Any]:
        database, definition = parameters["DatabaseName"], parameters["TableInput"]
        backend = glue_backends[DEFAULT_ACCOUNT_ID][REGION]
        expected = parameters.get("VersionId")
        with self._updating:
            try:
                there = backend.get_table(database, definition["Name"]).as_dict()["VersionId"]
            except EntityNotFoundException as error:
                raise AwsError("EntityNotFoundException", str(error)) from error
            if expected not in (None, there):
                raise AwsError("ConcurrentModificationException", f"The table has version {there}, not {expected}")
            backend.update_table(database, definition["Name"], _given(definition))
        return {}


def _add(kept: dict[str, dict[str, Any]], name: str, definition: dict[str, Any]) -> None:
    if name in kept:
        raise AwsError("AlreadyExistsException", f"{name} already exists")
    # What boto3 was not given is not kept as null.
    kept[name] = {key: value for key, value in _given(definition).items() if key not in ("Tags", "ClientToken")}


def _given(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _given(item) for key, item in value.items() if item is not None}
    return [_given(item) for item in value] if isinstance(value, list) else value


def _found(kept: Mapping[str, dict[str, Any]], name: str) -> dict[str, Any]:
    if name not in kept:
        raise AwsError("EntityNotFoundException", f"{name} is not found")
    return kept[name]


def _deleted(kept: dict[str, dict[str, Any]], name: str) -> Mapping[str, Any]:
    _found(kept, name)
    del kept[name]
    return {"Name": name}
