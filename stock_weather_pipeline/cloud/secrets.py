"""The vendor's key in Secrets Manager. It is read when it is needed, so that a rotated key needs no restart."""

from __future__ import annotations

from pydantic import SecretStr

from stock_weather_pipeline.errors import SettingsError
from stock_weather_pipeline.lake.aws.errors import aws_errors
from stock_weather_pipeline.lake.aws.session import AwsSession


def polygon_key(session: AwsSession, arn: str) -> SecretStr:
    """The key as the secret's text. Raises LakeError when AWS does not give it, SettingsError when it is no key."""
    client = session.boto.client("secretsmanager", config=session.config)
    with aws_errors(f"read the secret {arn}"):
        text = client.get_secret_value(SecretId=arn).get("SecretString", "").strip()
    if not text or not text.isprintable() or " " in text:
        raise SettingsError(f"The secret {arn} holds no key: put the key of your account there, as plain text.")
    return SecretStr(text)
