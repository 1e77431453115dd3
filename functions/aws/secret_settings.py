"""Settings that are secrets. The environment holds their addresses, not their values."""

import os
from functools import cached_property
from typing import Final

from aws_lambda_powertools.utilities.parameters import SecretsProvider, SSMProvider
from botocore.config import Config

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
    vault = Vault()
    return {name: vault.read(address) for name, address in addresses.items() if address}


class Vault:
    """Where secrets are kept. Powertools' own clients would wait a minute for a service that is silent."""

    _config: Final = Config(connect_timeout=3, read_timeout=10, tcp_keepalive=True)

    def read(self, address: str) -> str:
        """Read `/name` or the ARN of a parameter from Systems Manager, anything else from Secrets Manager."""
        if address.startswith("/") or address.split(":")[2:3] == ["ssm"]:
            return str(self.parameters.get(address, decrypt=True, force_fetch=True))
        return str(self.secrets.get(address, force_fetch=True))

    @cached_property
    def parameters(self) -> SSMProvider:
        """Systems Manager."""
        return SSMProvider(boto_config=self._config)

    @cached_property
    def secrets(self) -> SecretsProvider:
        """Secrets Manager."""
        return SecretsProvider(boto_config=self._config)
