"""On Lambda there is no Celery, no Socket.IO and no local stack."""

import subprocess
import sys

from tests.integration.aws.conftest import ROOT


def test_the_handlers_import_nothing_of_the_other_deployables() -> None:
    code = (
        "import functions.aws.handlers, sys; "
        "print(*sorted({name.split('.')[0] for name in sys.modules} & "
        "{'alembic', 'celery', 'engineio', 'kombu', 'socket_edge', 'socketio', 'workers'}), "
        "*[name for name in sys.modules if name.startswith('infra.local')])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
