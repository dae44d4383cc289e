"""The optional stack of Dagster itself: what it takes from the main stack, who reaches what, and its instance."""

from __future__ import annotations

from typing import Any

import yaml  # type: ignore[import-untyped]
from dagster._config import process_config
from dagster_aws.ecs import EcsRunLauncher

from stock_weather_pipeline.settings import Settings
from stock_weather_pipeline_tests.infra.templates import DAGSTER_STACK, INFRA, flat, load, of_kind

TEMPLATE = load(DAGSTER_STACK)
MAIN = load()
TASKS = of_kind(TEMPLATE, "AWS::ECS::TaskDefinition")


def instance(path: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((INFRA.parent / path).read_text())
    return content


def container(task: dict[str, Any]) -> dict[str, Any]:
    (only,) = task["Properties"]["ContainerDefinitions"]
    assert isinstance(only, dict)
    return only


def test_its_parameters_without_default_are_outputs_of_the_main_stack() -> None:
    needed = {name for name, about in TEMPLATE["Parameters"].items() if "Default" not in about}
    assert needed - {"ImageTag"} <= set(MAIN["Outputs"])


def test_every_setting_given_to_a_task_exists() -> None:
    for task in TASKS.values():
        names = {pair["Name"] for pair in container(task)["Environment"]}
        settings = {name.removeprefix("STOCK_WEATHER_").lower() for name in names if name.startswith("STOCK_WEATHER_")}
        assert settings - {"run_task"} <= set(Settings.model_fields)
        assert {"deployment", "raw_bucket", "parquet_bucket", "results_bucket"} <= settings


def test_nobody_comes_in_and_only_tasks_reach_the_database() -> None:
    for group in of_kind(TEMPLATE, "AWS::EC2::SecurityGroup").values():
        assert "SecurityGroupIngress" not in group["Properties"]
    (ingress,) = of_kind(TEMPLATE, "AWS::EC2::SecurityGroupIngress").values()
    assert ingress["Properties"]["FromPort"] == ingress["Properties"]["ToPort"] == 5432
    assert "Tasks" in flat(ingress["Properties"]["SourceSecurityGroupId"])
    assert "CidrIp" not in ingress["Properties"]


def test_the_database_is_encrypted_private_and_leaves_a_snapshot() -> None:
    (database,) = of_kind(TEMPLATE, "AWS::RDS::DBInstance").values()
    assert database["Properties"]["StorageEncrypted"] is True
    assert database["Properties"]["PubliclyAccessible"] is False
    assert database["Properties"]["ManageMasterUserPassword"] is True
    assert database["DeletionPolicy"] == "Snapshot"


def test_there_is_one_daemon_at_a_time() -> None:
    services = of_kind(TEMPLATE, "AWS::ECS::Service")
    assert {service["Properties"]["ServiceName"] for service in services.values()} == {"webserver", "daemon"}
    for service in services.values():
        assert service["Properties"]["DesiredCount"] == 1
        assert service["Properties"]["DeploymentConfiguration"]["MaximumPercent"] == 100


def test_the_password_is_in_no_environment() -> None:
    for task in TASKS.values():
        assert {secret["Name"] for secret in container(task)["Secrets"]} == {"DAGSTER_POSTGRES_PASSWORD"}
        assert not [pair for pair in container(task)["Environment"] if "PASSWORD" in pair["Name"]]


def test_a_run_is_launched_as_the_stacks_task() -> None:
    launcher = instance("infra/dagster.yaml")["run_launcher"]["config"]
    schema = EcsRunLauncher.config_type()  # type: ignore[no-untyped-call]
    assert process_config(schema, launcher).success
    assert {container(task)["Name"] for task in TASKS.values()} == {launcher["container_name"]}
    (run,) = [name for name, task in TASKS.items() if "Command" not in container(task)]
    for name, task in TASKS.items():
        given = {pair["Name"]: pair["Value"] for pair in container(task)["Environment"]}
        assert given.get(launcher["task_definition"]["env"]) == (None if name == run else {"Ref": run})


def test_the_instance_is_the_repositorys_but_for_storage_and_launching() -> None:
    ours, local = instance("infra/dagster.yaml"), instance("dagster.yaml")
    assert {name: ours[name] for name in local if name != "event_log_storage"} == {
        name: value for name, value in local.items() if name != "event_log_storage"
    }
    assert set(ours) - set(local) == {"storage", "run_launcher", "compute_logs"}
