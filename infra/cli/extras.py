"""Which extra of the package installs what a command needs."""

from typing import Final

_EXTRAS: Final = {
    "api-key": "edge",
    "beat": "worker",
    "dead-letters": "worker",  # to replay them
    "dev": "local",
    "doctor": "edge,worker",
    "edge": "edge",
    "message": "worker",
    "migrate": "worker",
    "reports": "worker",
    "run": "functions",
    "run offline_delivery": "worker",  # it queues notifications as Celery tasks
    "status": "worker",
    "token": "local",
    "user": "worker",
    "webhooks": "functions",
    "worker": "worker",
}


def advice(command: str, error: ModuleNotFoundError) -> str:
    """Return the line that says what to install, so that the command finds its packages."""
    return (
        f"{command} needs {error.name}, which is not installed here; "
        f'install it with: pip install "bbgram-chat[{_EXTRAS[command]}]"'
    )
