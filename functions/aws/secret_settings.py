"""Settings that are secrets. The environment holds their addresses, not their values."""

import os
from typing import Final

from aws_lambda_powertools.utilities.parameters import get_parameter, get_secret

from infra.settings.base import PREFIX
from infra.settings.functions import FunctionSettings

SUFFIX: Final = "_SECRET"


def read_secrets() -> dict[str, str]:
    """Return the settings that are kept as secrets. `BBGRAM_X_SECRET` holds the address of setting X.

    Raises what Powertools raises if one cannot be read.
    """
    addresses = {
        name: os.environ.get(f"{PREFIX}{name.upper()}{SUFFIX}") for name in FunctionSettings.model_fields
    }
    return {name: _read(address) for name, address in addresses.items() if address}


def _read(address: str) -> str:
    """Read `/name` or the ARN of a parameter from Systems Manager, anything else from Secrets Manager."""
    if address.startswith("/") or address.split(":")[2:3] == ["ssm"]:
        return get_parameter(address, decrypt=True, force_fetch=True)
    return str(get_secret(address, force_fetch=True))
