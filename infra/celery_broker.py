"""How Celery reaches Redis as its broker. A dictionary of settings: importing this needs no Celery."""

from typing import Any

from redis.backoff import NoBackoff
from redis.retry import Retry

from infra.redis_address import is_sentinel, parse_sentinel
from infra.redis_client import sentinel_options


def broker_settings(url: str, timeout_s: float, *, prefix: str = "", **options: Any) -> dict[str, Any]:
    """Return the settings of a Celery app whose keys all begin with `prefix`.

    `options` are more of kombu's transport options.
    """
    transport = {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "global_keyprefix": prefix,
        **options,
    }
    if not is_sentinel(url):
        return {"broker_url": url, "broker_transport_options": transport}
    address = parse_sentinel(url)
    asked = sentinel_options(address, timeout_s, Retry(NoBackoff(), 0))
    transport |= {"master_name": address.primary, "sentinel_kwargs": asked}
    tls = {name: value for name, value in address.tls.items() if name != "ssl"}
    return {
        "broker_url": address.broker_url,
        "broker_transport_options": transport,
        "broker_use_ssl": tls or False,
    }
