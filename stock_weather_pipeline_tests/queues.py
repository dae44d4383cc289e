"""Queues of the emulated account that stand for whoever reads what the stack sends. No test belongs here."""

from __future__ import annotations

import boto3


def subscribed_queue(topic_arn: str) -> str:
    """The URL of a new queue that gets what a topic delivers."""
    sqs = boto3.client("sqs")
    url = sqs.create_queue(QueueName="inbox")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    boto3.client("sns").subscribe(TopicArn=topic_arn, Protocol="sqs", Endpoint=arn)
    return url


def messages(queue_url: str) -> list[str]:
    """What waits in a queue, taken out."""
    sqs = boto3.client("sqs")
    found: list[str] = []
    while received := sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10).get("Messages", []):
        for message in received:
            found.append(message["Body"])
            sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
    return found
