"""Where people are told: an encrypted SNS topic, who subscribes to it, and the queue of what could not be delivered."""

from __future__ import annotations

from aws_cdk import CfnCondition, Duration, Fn, RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.stack.acknowledged import acknowledge
from infra.stack.names import Names
from infra.stack.parameters import Parameters


class Alerts(Construct):
    """The topic with its key and subscription, and the dead-letter queue."""

    def __init__(self, scope: Construct, construct_id: str, names: Names, parameters: Parameters) -> None:
        super().__init__(scope, construct_id)
        # Alarms cannot publish to a topic under the AWS-managed key: its policy does not let CloudWatch use it.
        self.key = kms.Key(
            self,
            "Key",
            description=f"Alerts of {names.prefix}",
            enable_key_rotation=True,
            removal_policy=RemovalPolicy.DESTROY,
            pending_window=Duration.days(7),
        )
        self.key.add_to_resource_policy(
            iam.PolicyStatement(
                actions=["kms:GenerateDataKey", "kms:Decrypt"],
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                resources=["*"],
                conditions={"StringEquals": {"aws:SourceAccount": names.account}},
            )
        )
        self.topic = sns.Topic(self, "Topic", topic_name=names.topic, master_key=self.key, enforce_ssl=True)
        self.topic.add_to_resource_policy(
            iam.PolicyStatement(
                actions=["sns:Publish"],
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                resources=[self.topic.topic_arn],
                conditions={"StringEquals": {"aws:SourceAccount": names.account}},
            )
        )
        subscription = sns.CfnSubscription(
            self, "Email", topic_arn=self.topic.topic_arn, protocol="email", endpoint=parameters.alarm_email
        )
        subscription.cfn_options.condition = CfnCondition(
            self, "HasEmail", expression=Fn.condition_not(Fn.condition_equals(parameters.alarm_email, ""))
        )
        self.dead_letters = sqs.Queue(
            self,
            "DeadLetters",
            queue_name=names.dead_letters,
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=Duration.days(14),
            removal_policy=RemovalPolicy.DESTROY,
        )
        acknowledge(self.dead_letters, "AwsSolutions-SQS3", "It is the dead-letter queue.")
