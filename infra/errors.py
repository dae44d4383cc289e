"""What goes wrong on the way to AWS and back, in one sentence each. The command line prints it without a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError, WaiterError


class InfraError(Exception):
    """Something the person at the command line has to know: what, where, and what to do next."""


@contextmanager
def aws_errors(doing: str) -> Iterator[None]:
    """Turn an error of AWS into a sentence that says what was being done."""
    try:
        yield
    except WaiterError as error:
        raise InfraError(f"Could not {doing}: it did not finish in time ({error.kwargs['reason']}).") from error
    except ClientError as error:
        code, message = error.response["Error"].get("Code", ""), error.response["Error"].get("Message", "")
        raise InfraError(f"Could not {doing}: AWS answered {code}: {message}") from error
    except BotoCoreError as error:
        raise InfraError(f"Could not {doing}: {error}") from error
