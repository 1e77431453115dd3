"""Webhooks of a deployment that go to a server of the tests."""

import os
from pathlib import Path
from typing import Final

from tests.harness.deployment import Deployment, Part

SECRET: Final = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SETTINGS: Final = {
    "webhooks": "app",
    "webhooks_urls": "app=https://app.example/chat-events",
    "webhooks_secrets": f"app={SECRET}",
    "webhooks_s": 0.2,
}
"""Settings of a deployment that tells one endpoint of everything."""
_ROOT: Final = Path(__file__).parents[2]


def start_sender(chat: Deployment, url: str, certificate: Path) -> Part:
    """Start a functions worker whose webhooks all go to this address."""
    path = os.pathsep.join((str(_ROOT), str(Path(__file__).parent / "to_localhost")))
    env = chat.env
    chat.env = {**env, "PYTHONPATH": path, "WEBHOOKS_TO": url, "WEBHOOKS_TRUST": str(certificate)}
    try:
        return chat.start_functions()
    finally:
        chat.env = env
