"""Jobs of a team: how they are written, and what is said of a package that cannot be used."""

from collections.abc import Callable
from itertools import count
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from functions.jobs import Context, Job, OwnJob, Pacer, Summary, job
from functions.schedule import own_jobs, schedule
from infra.settings.base import SettingsError
from infra.settings.jobs import JobSettings

pytestmark = pytest.mark.usefixtures("no_settings_from_outside")

_NUMBERS = count()

JOB = """
from functions.jobs import job

@job("{name}", cron="0 9 * * 1", zone="Europe/Berlin")
def {name}(context, pacer, dry_run):
    return {{}}
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., JobSettings]:
    """Return a function that writes a package with these modules, and returns the settings that name it."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(**modules: str) -> JobSettings:
        folder = tmp_path / f"team{next(_NUMBERS)}"
        folder.mkdir()
        for name, text in {"__init__": "", **modules}.items():
            (folder / f"{name}.py").write_text(dedent(text))
        return JobSettings(jobs=folder.name)

    return write


def test_the_decorator_keeps_the_function_and_says_when_it_runs() -> None:
    @job("weekly", cron="0  9 * * 1", zone="Europe/Berlin", late_s=600)
    def weekly(context: Context, pacer: Pacer, dry_run: bool) -> Summary:
        return {"dry_run": dry_run}

    assert weekly.job == Job("weekly", "0 9 * * 1", "Europe/Berlin", late_s=600)
    nothing: Any = None
    assert weekly(nothing, Pacer(1), True) == {"dry_run": True}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"name": "Weekly Digest"}, "the name 'Weekly Digest' must be 1 to 40"),
        ({"cron": "0 9 * *"}, "weekly must be a cron expression like `17 3 \\* \\* \\*` \\(it has 4 fields"),
        ({"cron": "0 25 * * *"}, "bad hour"),
        ({"cron": "0 0 30 2 *"}, "bad day-of-month"),
        ({"zone": "Europe/Bonn"}, "weekly must be the name of a time zone"),
        ({"late_s": 5}, "at least 60"),
    ],
)
def test_a_wrong_argument_is_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        job(**{"name": "weekly", "cron": "0 9 * * 1", **given})


def test_every_module_of_a_package_may_have_jobs(write: Callable[..., JobSettings]) -> None:
    settings = write(
        one=JOB.format(name="digest"), two=JOB.format(name="invoices"), three="from .one import digest"
    )
    found = own_jobs(settings)
    assert {name: type(one) for name, one in found.items()} == {"digest": OwnJob, "invoices": OwnJob}
    assert [one.name for one in schedule(settings)] == [
        "offline_delivery",
        "erase_users",
        "cleanup",
        "digest",
        "invoices",
    ]


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        ({"one": "import nothing_like_this"}, "cannot be imported .*ModuleNotFoundError.*nothing_like_this"),
        ({"one": "1 / 0"}, "cannot be imported .*ZeroDivisionError"),
        (
            {"one": JOB.format(name="digest").replace("9", "99")},
            "cannot be imported .*cron or zone of digest",
        ),
        ({"one": JOB.format(name="a"), "two": JOB.format(name="a")}, "has a job a, but another function has"),
        ({"one": JOB.format(name="cleanup")}, "has a job cleanup, but another function has this name"),
        ({"one": JOB.format(name="restore")}, "has a job restore, but another function has this name"),
        ({}, "has a job"),
    ],
)
def test_a_package_that_cannot_be_used_is_one_line(
    write: Callable[..., JobSettings], modules: dict[str, str], message: str
) -> None:
    with pytest.raises(SettingsError, match=f"^BBGRAM_JOBS is wrong: .*{message}") as caught:
        own_jobs(write(**modules))
    (line,) = caught.value.lines()
    assert "\n" not in line


def test_a_package_that_is_not_there_is_one_line() -> None:
    with pytest.raises(SettingsError, match=r"^BBGRAM_JOBS is wrong: no_team.jobs cannot be imported"):
        own_jobs(JobSettings(jobs="no_team.jobs"))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("cleanup_cron", "every day", "BBGRAM_CLEANUP_CRON is wrong: must be a cron expression like `17 3"),
        ("archive_cron", "61 * * * *", r"BBGRAM_ARCHIVE_CRON is wrong: .*\(bad minute\)"),
        ("cron_zone", "Berlin", "BBGRAM_CRON_ZONE is wrong: must be the name of a time zone"),
        ("jobs", "my-team/jobs.py", "BBGRAM_JOBS is wrong: must be the name of a Python module or package"),
    ],
)
def test_a_wrong_setting_is_one_line(name: str, value: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        JobSettings.load(**{name: value})
    assert len(caught.value.lines()) == 1
