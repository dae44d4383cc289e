"""Resource types that moto's CloudFormation leaves out or does by half: each is created through its own service's API.

A type that nobody handles fails the stack. What a service does with the resource belongs to that service.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from botocore.exceptions import ClientError
from moto.cloudformation import parsing
from moto.cloudformation.exceptions import ValidationError
from moto.cloudformation.models import ChangeSet
from moto.core.common_models import CloudFormationModel
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.iam.access_control import PermissionResult
from moto.s3.models import FakeBucket

from infra.emulation.glue_tables import REGION
from infra.emulation.internal import InternalClients

Properties = dict[str, Any]


_clients = InternalClients("")


def _same(name: str, properties: Properties) -> Properties:
    return properties


@dataclass(frozen=True)
class Kind:
    """How a resource type is created and deleted.

    `name` is its property with the name, empty where there is none; `parameters` makes the API's of the template's;
    `reference` gives what Ref is, from the name, the API's answer and the properties; `arn` is what GetAtt Arn is.
    """

    type: str
    service: str
    create: str
    delete: str
    delete_parameters: Callable[[str, Properties], Properties]
    name: str = ""
    parameters: Callable[[str, Properties], Properties] = _same
    reference: Callable[[str, Mapping[str, Any], Properties], str] = lambda name, answer, properties: name
    arn: str = ""
    update: str = ""
    then: Callable[[str, Properties], list[tuple[str, Properties]]] = lambda reference, properties: []
    """Further calls, by operation, once it is there."""


def _named(parameter: str) -> Callable[[str, Properties], Properties]:
    return lambda reference, properties: {parameter: reference}


def _workgroup(name: str, properties: Properties) -> Properties:
    return {
        "Name": name,
        "Configuration": properties.get("WorkGroupConfiguration", {}),
        "Description": properties.get("Description", ""),
        "Tags": properties.get("Tags", []),
    }


def _trigger(name: str, properties: Properties) -> Properties:
    if "Predicate" not in properties:
        return properties
    # One condition needs no Logical on AWS, but moto asks for it.
    return {**properties, "Predicate": {"Logical": "AND", **properties["Predicate"]}}


def _policies(list_name: str, key: str) -> Callable[[str, Properties], list[Properties]]:
    return lambda name, properties: [
        {key: target, **_policy_attribute(key, properties["PolicyDocument"])} for target in properties[list_name]
    ]


def _policy_attribute(key: str, document: Mapping[str, Any]) -> Properties:
    text = json.dumps(document)
    if key == "TopicArn":
        return {"AttributeName": "Policy", "AttributeValue": text}
    return {"Attributes": {"Policy": text}}


_GLUE = f"arn:aws:glue:{REGION}:{DEFAULT_ACCOUNT_ID}:"

KINDS = (
    Kind(
        "AWS::Athena::WorkGroup",
        "athena",
        "create_work_group",
        "delete_work_group",
        _named("WorkGroup"),
        name="Name",
        parameters=_workgroup,
    ),
    Kind(
        "AWS::CloudWatch::Alarm",
        "cloudwatch",
        "put_metric_alarm",
        "delete_alarms",
        lambda reference, _: {"AlarmNames": [reference]},
        name="AlarmName",
        parameters=lambda name, p: {**p, "AlarmName": name},
        arn=f"arn:aws:cloudwatch:{REGION}:{DEFAULT_ACCOUNT_ID}:alarm:{{}}",
        update="put_metric_alarm",
    ),
    Kind(
        "AWS::Glue::Classifier",
        "glue",
        "create_classifier",
        "delete_classifier",
        _named("Name"),
        reference=lambda name, answer, p: str(next(iter(p.values()))["Name"]),
    ),
    Kind("AWS::Glue::Crawler", "glue", "create_crawler", "delete_crawler", _named("Name"), name="Name"),
    Kind(
        "AWS::Glue::DataQualityRuleset",
        "glue",
        "create_data_quality_ruleset",
        "delete_data_quality_ruleset",
        _named("Name"),
        name="Name",
    ),
    Kind(
        "AWS::Glue::Database",
        "glue",
        "create_database",
        "delete_database",
        _named("Name"),
        reference=lambda name, answer, p: str(p["DatabaseInput"]["Name"]),
    ),
    Kind(
        "AWS::Glue::Job",
        "glue",
        "create_job",
        "delete_job",
        _named("JobName"),
        name="Name",
        arn=_GLUE + "job/{}",
    ),
    Kind(
        "AWS::Glue::Trigger",
        "glue",
        "create_trigger",
        "delete_trigger",
        _named("Name"),
        name="Name",
        parameters=_trigger,
    ),
    Kind("AWS::Glue::Workflow", "glue", "create_workflow", "delete_workflow", _named("Name"), name="Name"),
    Kind(
        "AWS::KMS::Key",
        "kms",
        "create_key",
        "schedule_key_deletion",
        _named("KeyId"),
        parameters=lambda name, p: {
            "Policy": json.dumps(p["KeyPolicy"]),
            "Description": p.get("Description", ""),
            "Tags": [{"TagKey": tag["Key"], "TagValue": tag["Value"]} for tag in p.get("Tags", [])],
        },
        reference=lambda name, answer, p: str(answer["KeyMetadata"]["KeyId"]),
        arn=f"arn:aws:kms:{REGION}:{DEFAULT_ACCOUNT_ID}:key/{{}}",
        then=lambda key, p: [("enable_key_rotation", {"KeyId": key})] if p.get("EnableKeyRotation") else [],
    ),
    Kind(
        "AWS::KinesisFirehose::DeliveryStream",
        "firehose",
        "create_delivery_stream",
        "delete_delivery_stream",
        _named("DeliveryStreamName"),
        name="DeliveryStreamName",
        arn=f"arn:aws:firehose:{REGION}:{DEFAULT_ACCOUNT_ID}:deliverystream/{{}}",
    ),
    Kind(
        "AWS::Lambda::EventInvokeConfig",
        "lambda",
        "put_function_event_invoke_config",
        "delete_function_event_invoke_config",
        lambda reference, p: {"FunctionName": p["FunctionName"], "Qualifier": p["Qualifier"]},
        update="put_function_event_invoke_config",
    ),
    Kind(
        "AWS::Logs::LogGroup",
        "logs",
        "create_log_group",
        "delete_log_group",
        _named("logGroupName"),
        name="LogGroupName",
        parameters=lambda name, p: {"logGroupName": name},
        arn=f"arn:aws:logs:{REGION}:{DEFAULT_ACCOUNT_ID}:log-group:{{}}:*",
        then=lambda group, p: [
            ("put_retention_policy", {"logGroupName": group, "retentionInDays": p["RetentionInDays"]})
        ],
    ),
    Kind(
        "AWS::Logs::LogStream",
        "logs",
        "create_log_stream",
        "delete_log_stream",
        lambda reference, p: {"logGroupName": p["LogGroupName"], "logStreamName": reference},
        name="LogStreamName",
        parameters=lambda name, p: {"logGroupName": p["LogGroupName"], "logStreamName": name},
    ),
    Kind(
        "AWS::S3::BucketPolicy",
        "s3",
        "put_bucket_policy",
        "delete_bucket_policy",
        lambda reference, p: {"Bucket": p["Bucket"]},
        parameters=lambda name, p: {"Bucket": p["Bucket"], "Policy": json.dumps(p["PolicyDocument"])},
        update="put_bucket_policy",
    ),
    Kind(
        "AWS::SNS::Subscription",
        "sns",
        "subscribe",
        "unsubscribe",
        _named("SubscriptionArn"),
        reference=lambda name, answer, p: str(answer["SubscriptionArn"]),
    ),
    Kind(
        "AWS::Scheduler::Schedule",
        "scheduler",
        "create_schedule",
        "delete_schedule",
        lambda reference, p: {"Name": reference, "GroupName": p.get("GroupName", "default")},
        name="Name",
        arn=f"arn:aws:scheduler:{REGION}:{DEFAULT_ACCOUNT_ID}:schedule/{{}}",
        update="update_schedule",
    ),
    Kind(
        "AWS::Scheduler::ScheduleGroup",
        "scheduler",
        "create_schedule_group",
        "delete_schedule_group",
        _named("Name"),
        name="Name",
    ),
    Kind(
        "AWS::SecretsManager::Secret",
        "secretsmanager",
        "create_secret",
        "delete_secret",
        lambda reference, _: {"SecretId": reference, "ForceDeleteWithoutRecovery": True},
        name="Name",
        reference=lambda name, answer, p: str(answer["ARN"]),
    ),
)


class _ThroughItsApi:
    """A resource made by a Kind."""

    kind: Kind

    def __init__(self, reference: str, properties: Properties, template_properties: Properties) -> None:
        self.physical_resource_id = reference
        self.template_properties = template_properties
        self._properties = properties

    @classmethod
    def cloudformation_type(cls) -> str:
        return cls.kind.type

    @classmethod
    def cloudformation_name_type(cls) -> str:
        return cls.kind.name

    @classmethod
    def has_cfn_attr(cls, attr: str) -> bool:
        return attr == "Arn" and bool(cls.kind.arn)

    def get_cfn_attribute(self, attr: str) -> str:
        if not self.has_cfn_attr(attr):
            raise ValidationError(message=f"{self.kind.type} has no attribute {attr}")
        return self.kind.arn.format(self.physical_resource_id)

    def is_created(self) -> bool:
        return True

    @classmethod
    def create_from_cloudformation_json(
        cls, resource_name: str, cloudformation_json: Properties, account_id: str, region_name: str, **_: Any
    ) -> _ThroughItsApi:
        properties = dict(cloudformation_json["Properties"])
        if cls.kind.name:
            properties[cls.kind.name] = properties.get(cls.kind.name, resource_name)
            resource_name = properties[cls.kind.name]
        answer = _call(cls.kind.service, cls.kind.create, cls.kind.parameters(resource_name, properties))
        reference = cls.kind.reference(resource_name, answer, properties)
        for operation, parameters in cls.kind.then(reference, properties):
            _call(cls.kind.service, operation, parameters)
        return cls(reference, properties, dict(cloudformation_json["Properties"]))

    @classmethod
    def update_from_cloudformation_json(
        cls,
        original_resource: _ThroughItsApi,
        new_resource_name: str,
        cloudformation_json: Properties,
        account_id: str,
        region_name: str,
    ) -> _ThroughItsApi:
        kind = cls.kind
        properties = dict(cloudformation_json["Properties"])
        if properties == original_resource.template_properties:
            return original_resource
        if kind.update:
            _call(kind.service, kind.update, kind.parameters(original_resource.physical_resource_id, properties))
            return cls(original_resource.physical_resource_id, properties, properties)
        original_resource.delete(account_id, region_name)
        return cls.create_from_cloudformation_json(new_resource_name, cloudformation_json, account_id, region_name)

    def delete(self, account_id: str, region_name: str) -> None:
        parameters = self.kind.delete_parameters(self.physical_resource_id, self._properties)
        # Schedules go with their group, log streams with theirs.
        _call(self.kind.service, self.kind.delete, parameters, missing_is_fine=True)


class _PolicyOfMany:
    """AWS::SNS::TopicPolicy and AWS::SQS::QueuePolicy: one policy put on several resources."""

    targets: str
    type: str
    service: str
    operation: str
    key: str

    def __init__(self, reference: str) -> None:
        self.physical_resource_id = reference

    @classmethod
    def cloudformation_type(cls) -> str:
        return cls.type

    @staticmethod
    def cloudformation_name_type() -> str:
        return ""

    def is_created(self) -> bool:
        return True

    @classmethod
    def create_from_cloudformation_json(
        cls, resource_name: str, cloudformation_json: Properties, account_id: str, region_name: str, **_: Any
    ) -> _PolicyOfMany:
        for parameters in _policies(cls.targets, cls.key)(resource_name, cloudformation_json["Properties"]):
            _call(cls.service, cls.operation, parameters)
        return cls(resource_name)

    @classmethod
    def update_from_cloudformation_json(
        cls, original_resource: Any, new_resource_name: str, cloudformation_json: Properties, *place: str
    ) -> _PolicyOfMany:
        return cls.create_from_cloudformation_json(new_resource_name, cloudformation_json, "", "")

    def delete(self, account_id: str, region_name: str) -> None:
        """The policy goes with the queue or topic."""


class _Bucket:
    """AWS::S3::Bucket with all that the stack sets; a bucket that an earlier stack retained is taken over."""

    def __init__(self, name: str) -> None:
        self.physical_resource_id = name

    @staticmethod
    def cloudformation_type() -> str:
        return "AWS::S3::Bucket"

    @staticmethod
    def cloudformation_name_type() -> str:
        return "BucketName"

    @classmethod
    def has_cfn_attr(cls, attr: str) -> bool:
        return attr in ("Arn", "DomainName", "RegionalDomainName")

    def get_cfn_attribute(self, attr: str) -> str:
        name = self.physical_resource_id
        return {
            "Arn": f"arn:aws:s3:::{name}",
            "DomainName": f"{name}.s3.amazonaws.com",
            "RegionalDomainName": f"{name}.s3.{REGION}.amazonaws.com",
        }[attr]

    def is_created(self) -> bool:
        return True

    @classmethod
    def create_from_cloudformation_json(
        cls, resource_name: str, cloudformation_json: Properties, account_id: str, region_name: str, **_: Any
    ) -> _Bucket:
        _clients.of("s3").create_bucket(Bucket=resource_name)
        _configure_bucket(resource_name, dict(cloudformation_json["Properties"]))
        return cls(resource_name)

    @classmethod
    def update_from_cloudformation_json(
        cls, original_resource: _Bucket, new_resource_name: str, cloudformation_json: Properties, *place: str, **_: str
    ) -> _Bucket:
        _configure_bucket(original_resource.physical_resource_id, dict(cloudformation_json["Properties"]))
        return original_resource

    def delete(self, account_id: str, region_name: str) -> None:
        _clients.of("s3").delete_bucket(Bucket=self.physical_resource_id)


def _configure_bucket(name: str, properties: Properties) -> None:
    s3 = _clients.of("s3")
    properties.pop("BucketName", None)
    if versioning := properties.pop("VersioningConfiguration", None):
        s3.put_bucket_versioning(Bucket=name, VersioningConfiguration=versioning)
    if lifecycle := properties.pop("LifecycleConfiguration", None):
        rules = [_lifecycle_rule(rule) for rule in lifecycle["Rules"]]
        s3.put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration={"Rules": rules})
    if block := properties.pop("PublicAccessBlockConfiguration", None):
        _call("s3", "put_public_access_block", {"Bucket": name, "PublicAccessBlockConfiguration": block})
    if encryption := properties.pop("BucketEncryption", None):
        rules = [
            {"ApplyServerSideEncryptionByDefault": rule["ServerSideEncryptionByDefault"]}
            for rule in encryption["ServerSideEncryptionConfiguration"]
        ]
        s3.put_bucket_encryption(Bucket=name, ServerSideEncryptionConfiguration={"Rules": rules})
    if ownership := properties.pop("OwnershipControls", None):
        s3.put_bucket_ownership_controls(Bucket=name, OwnershipControls=ownership)
    if notification := properties.pop("NotificationConfiguration", None):
        s3.put_bucket_notification_configuration(
            Bucket=name, NotificationConfiguration=_notification(notification), SkipDestinationValidation=True
        )
    if tags := properties.pop("Tags", None):
        s3.put_bucket_tagging(Bucket=name, Tagging={"TagSet": tags})
    if properties:
        raise ValidationError(message=f"AWS::S3::Bucket: {', '.join(sorted(properties))} is not emulated")


def _lifecycle_rule(rule: Mapping[str, Any]) -> Properties:
    """A rule of the template in the form of the API. An unknown part fails in boto3's validation of the call."""
    rest = dict(rule)
    made: Properties = {
        "ID": rest.pop("Id"),
        "Status": rest.pop("Status"),
        "Filter": {"Prefix": rest.pop("Prefix", "")},
    }
    if "ExpirationInDays" in rest:
        made["Expiration"] = {"Days": int(rest.pop("ExpirationInDays"))}
    for part in ("NoncurrentVersionExpiration", "AbortIncompleteMultipartUpload"):
        if part in rest:
            made[part] = {key: int(value) for key, value in rest.pop(part).items()}
    if "Transitions" in rest:
        made["Transitions"] = [
            {"Days": int(transition["TransitionInDays"]), "StorageClass": transition["StorageClass"]}
            for transition in rest.pop("Transitions")
        ]
    return {**made, **rest}


def _notification(configuration: Mapping[str, Any]) -> Properties:
    made: Properties = {}
    for ours, theirs, target, arn in (
        ("QueueConfigurations", "QueueConfigurations", "Queue", "QueueArn"),
        ("TopicConfigurations", "TopicConfigurations", "Topic", "TopicArn"),
    ):
        if ours in configuration:
            made[theirs] = [
                {arn: item[target], "Events": [item["Event"]], **_filter(item)} for item in configuration[ours]
            ]
    if "EventBridgeConfiguration" in configuration:
        made["EventBridgeConfiguration"] = {}
    return made


def _filter(item: Mapping[str, Any]) -> Properties:
    rules = item.get("Filter", {}).get("S3Key", {}).get("Rules", [])
    return {"Filter": {"Key": {"FilterRules": rules}}} if rules else {}


def _call(service: str, operation: str, parameters: Properties, *, missing_is_fine: bool = False) -> Mapping[str, Any]:
    client = _clients.of(service)
    shape = client.meta.service_model.operation_model(client.meta.method_to_api_mapping[operation]).input_shape
    try:
        answer: Mapping[str, Any] = getattr(client, operation)(**_typed(parameters, shape))
    except ClientError as error:
        if missing_is_fine and error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
            return {}
        if missing_is_fine and "NotFound" in error.response["Error"]["Code"]:
            return {}
        raise ValidationError(message=str(error)) from error
    return answer


def _typed(value: Any, shape: Any) -> Any:
    """Numbers and booleans of a template, which a parameter gives as text, as the API wants them."""
    kind = shape.type_name
    if kind == "structure":
        return {k: _typed(v, shape.members[k]) if k in shape.members else v for k, v in value.items()}
    if kind == "list":
        return [_typed(item, shape.member) for item in value]
    if kind == "map":
        return {k: _typed(v, shape.value) for k, v in value.items()}
    if kind in ("integer", "long"):
        return int(value)
    if kind in ("double", "float"):
        return float(value)
    if kind == "boolean":
        return value if isinstance(value, bool) else str(value).lower() == "true"
    return json.dumps(value) if isinstance(value, (dict, list)) else str(value)


def _classes() -> dict[str, type[CloudFormationModel]]:
    made: dict[str, Any] = {
        kind.type: type(kind.type.replace("::", ""), (_ThroughItsApi, CloudFormationModel), {"kind": kind})
        for kind in KINDS
    }
    made["AWS::S3::Bucket"] = type("AWSS3Bucket", (_Bucket, CloudFormationModel), {})
    for name, service, operation, targets, key in (
        ("AWS::SNS::TopicPolicy", "sns", "set_topic_attributes", "Topics", "TopicArn"),
        ("AWS::SQS::QueuePolicy", "sqs", "set_queue_attributes", "Queues", "QueueUrl"),
    ):
        members = {"type": name, "service": service, "operation": operation, "targets": targets, "key": key}
        made[name] = type(name.replace("::", ""), (_PolicyOfMany, CloudFormationModel), members)
    return made


_CLASSES = _classes()


def _class_of(resource_type: str) -> type[CloudFormationModel]:
    known = {**parsing.get_model_map(), **_CLASSES}
    if resource_type not in known:
        raise ValidationError(message=f"Template format error: Unrecognized resource types: [{resource_type}]")
    return known[resource_type]


def _name_property(resource_type: str) -> str | None:
    return _class_of(resource_type).cloudformation_name_type() or None


def _update(
    logical_id: str, resource_json: Properties, resources_map: Any, account_id: str, region_name: str
) -> CloudFormationModel | None:
    """moto's own forgets that a resource may have a condition."""
    condition = resource_json.get("Condition")
    wanted = not condition or resources_map.lazy_condition_map[condition]
    existing = resources_map[logical_id]
    arguments = (logical_id, resource_json, resources_map, account_id, region_name)
    if wanted and existing is not None:
        updated: CloudFormationModel | None = _moto_update(*arguments)
        return updated
    if wanted:
        return parsing.parse_and_create_resource(*arguments)
    if existing is not None:
        existing.delete(account_id, region_name)
    return None


_moto_update = parsing.parse_and_update_resource


def _apply(change_set: ChangeSet) -> None:
    """moto's own leaves the outputs as they were."""
    change_set.stack.update(change_set.template, parameters=change_set.parameters)


@contextmanager
def complete_cloudformation(endpoint_url: str) -> Iterator[None]:
    """moto's CloudFormation with these types, and without silence about others.

    Policies of buckets are kept but not enforced: moto reads no conditions, and would take a rule against plain HTTP,
    which is all there is here, for a rule against everything.
    """
    _clients.connect(endpoint_url)
    with ExitStack() as stack:
        stack.enter_context(patch.object(parsing, "resource_class_from_type", _class_of))
        stack.enter_context(patch.object(parsing, "resource_name_property_from_type", _name_property))
        stack.enter_context(patch.object(parsing, "parse_and_update_resource", _update))
        stack.enter_context(patch.object(ChangeSet, "apply", _apply))
        stack.enter_context(patch.object(FakeBucket, "get_permission", lambda *_: PermissionResult.NEUTRAL))
        yield
