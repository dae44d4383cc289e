"""An AWS account emulated on one machine, for the tests and `make aws-demo`: moto, with what it lacks.

See README.md beside this file for what this proves and what it does not.
"""

from infra.emulation.server import EmulatedAws, emulated_aws
from infra.emulation.traffic import AwsError, Fault

__all__ = ["AwsError", "EmulatedAws", "Fault", "emulated_aws"]
