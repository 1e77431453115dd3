"""Lets a functions worker send webhooks to a server on this machine, whatever `BBGRAM_WEBHOOKS_URLS` says.

Python imports this module at startup if its folder is on PYTHONPATH. `WEBHOOKS_TO` is the address of the
server, `WEBHOOKS_TRUST` its certificate. The product itself knows nothing of this.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import requests

    from functions.webhooks.sender import Posts
    from infra.settings.functions import FunctionSettings


def make_local_endpoint(settings: FunctionSettings, name: str) -> Posts:
    """Return an endpoint on this machine, with the secrets of the one that is set."""
    from functions.webhooks.endpoint import Endpoint

    return Endpoint(os.environ["WEBHOOKS_TO"], settings.secrets_of(name), make_local_session)


def make_local_session() -> requests.Session:
    """Return a session that also reaches this machine."""
    from functions.channels.outbound import make_session

    session = make_session(allow_loopback=True)
    session.verify = os.environ["WEBHOOKS_TRUST"]
    return session


if "--functions" in sys.orig_argv:
    from functions.webhooks import sender

    sender.make_endpoint = make_local_endpoint
