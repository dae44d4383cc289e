"""What goes wrong on the way to AWS and back, in one sentence each. The command line prints it without a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import WaiterError

from stock_weather_pipeline.errors import LakeError
from stock_weather_pipeline.lake.aws import errors


class InfraError(Exception):
    """Something the person at the command line has to know: what, where, and what to do next."""


@contextmanager
def aws_errors(doing: str) -> Iterator[None]:
    """Turn an error of AWS into a sentence that says what was being done, and what to do about it."""
    try:
        with errors.aws_errors(doing):
            try:
                yield
            except WaiterError as error:
                raise InfraError(f"Cannot {doing}: it did not finish in time ({error.kwargs['reason']}).") from error
    except LakeError as error:
        raise InfraError(str(error)) from error
