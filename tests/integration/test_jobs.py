"""A job of a team, exactly as docs/functions.md shows it, run by beat and a worker, and by hand."""

import os
import re
from functools import partial
from pathlib import Path

import msgspec
import pytest

from tests.conftest import DeploymentFactory
from tests.harness import weekly_digest
from tests.harness.deployment import Deployment, Part
from tests.harness.stack import bbgram
from tests.harness.waiting import eventually

PAGE = Path(__file__).parents[2] / "docs" / "functions.md"
LONG_AGO = "2026-01-01T00:00:00Z"


@pytest.fixture
def team(deploy: DeploymentFactory) -> Deployment:
    """A deployment with the job of the page."""
    chat = deploy(jobs=weekly_digest.NAME, log_json=False)
    places = [str(weekly_digest.EXAMPLES), os.environ.get("PYTHONPATH", "")]
    chat.env["PYTHONPATH"] = os.pathsep.join(filter(None, places))
    return chat


def start_late_beat(chat: Deployment, folder: Path) -> None:
    """Start a beat that has run nothing for long."""
    folder.mkdir()
    last_runs = {weekly_digest.NAME: LONG_AGO, "cleanup": LONG_AGO}
    (folder / "beat-schedule").write_bytes(msgspec.json.encode(last_runs))
    chat.start_beat(data_dir=folder)


@pytest.mark.parametrize("ending", ["py", "sql"])
def test_the_page_shows_the_job_that_these_tests_run(ending: str) -> None:
    blocks = re.findall(r"```(?:python|sql)\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert (weekly_digest.EXAMPLES / f"weekly_digest.{ending}").read_text() in blocks


def test_two_beats_run_a_job_once_for_a_time(team: Deployment, tmp_path: Path) -> None:
    bob = weekly_digest.seed(team.store)
    functions = team.start_functions()
    for beat in ("one", "two"):
        start_late_beat(team, tmp_path / beat)
    for function in (weekly_digest.NAME, "cleanup"):
        once, again = rf"function_finished.*{function}", rf"job_already_run.*{function}"
        for line in (once, again):
            eventually(partial(has, functions, line), f"there is {line}")
        assert len(re.findall(once, functions.log)) == 1
    assert weekly_digest.digests(team.store, bob) == [2]


def has(part: Part, line: str) -> bool:
    return re.search(line, part.log) is not None


def test_by_hand_a_job_runs_as_often_as_one_wants(team: Deployment) -> None:
    bob = weekly_digest.seed(team.store)
    assert by_hand(team, weekly_digest.NAME, "--dry-run").endswith("digests: 1\n")
    assert weekly_digest.digests(team.store, bob) == []
    assert by_hand(team, weekly_digest.NAME).endswith("digests: 1\n")
    assert by_hand(team, weekly_digest.NAME).endswith("digests: 0\n")
    assert weekly_digest.digests(team.store, bob) == [2]
    assert "weekly_digest     Note how many messages each user" in by_hand(team, "--help")


def by_hand(chat: Deployment, *words: str) -> str:
    # A fork would not see where the job is.
    done = bbgram("run", *words, env=chat.env, forked=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
