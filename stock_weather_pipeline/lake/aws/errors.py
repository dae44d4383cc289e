"""What AWS's errors mean to a user: one sentence with what, where and the next step, and whether a retry may help."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from stock_weather_pipeline.errors import LakeError, TransientLakeError

_THROTTLED = frozenset(
    [
        "503",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    ]
)
_TRANSIENT = frozenset(
    [
        "500",
        "502",
        "504",
        "InternalError",
        "InternalFailure",
        "InternalServerException",
        "InternalServiceException",
        "OperationTimeoutException",
        "RequestTimeout",
        "RequestTimeoutException",
        "ServiceUnavailable",
    ]
)
_ADVICE = {
    "NoSuchKey": "there is no such file",
    "404": "there is no such file",
    "NoSuchBucket": "there is no such bucket; deploy the stack, or set the right STOCK_WEATHER_*_BUCKET",
    "AccessDenied": "access denied; give the role this permission, or use the stack's role",
    "AccessDeniedException": "access denied; give the role this permission, or use the stack's role",
    "403": "access denied; give the role this permission, or use the stack's role",
    "ExpiredToken": "the AWS credentials have expired; sign in again",
    "ExpiredTokenException": "the AWS credentials have expired; sign in again",
    "InvalidAccessKeyId": "the AWS credentials are not valid; sign in again",
    "InvalidClientTokenId": "the AWS credentials are not valid; sign in again",
    "UnrecognizedClientException": "the AWS credentials are not valid; sign in again",
    "SignatureDoesNotMatch": "the AWS credentials are not valid; sign in again",
}


def code_of(error: Exception) -> str:
    """AWS's code of an error, '' for one that did not come from a service."""
    response = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""


def is_transient(error: Exception) -> bool:
    """Whether the same call may succeed later: throttling, a fault of the service, a lost connection."""
    from botocore.exceptions import ConnectionError as LostConnection
    from botocore.exceptions import HTTPClientError

    return isinstance(error, (LostConnection, HTTPClientError)) or code_of(error) in _THROTTLED | _TRANSIENT


def translated(what: str, code: str, message: str) -> LakeError:
    """The sentence for a call that a service refused; `what` is a verb and its object, such as `read s3://...`."""
    if code in _THROTTLED:
        return TransientLakeError(f"Cannot {what}: AWS throttles ({code}), also after retries; run again later.")
    if code in _TRANSIENT:
        return TransientLakeError(f"Cannot {what}: AWS failed for a moment ({code}); run again.")
    return LakeError(f"Cannot {what}: {_ADVICE.get(code) or f'{code} {message}'.strip().rstrip('.')}.")


@contextmanager
def aws_errors(what: str) -> Iterator[None]:
    """Errors of AWS in the block as LakeError."""
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    try:
        yield
    except NoCredentialsError as error:
        raise LakeError(f"Cannot {what}: no AWS credentials are found; set AWS_PROFILE, or sign in.") from error
    except ClientError as error:
        raise translated(what, code_of(error), error.response["Error"].get("Message", "")) from error
    except BotoCoreError as error:
        kind = TransientLakeError if is_transient(error) else LakeError
        raise kind(f"Cannot {what}: AWS cannot be reached or answered wrongly ({error}); run again.") from error
