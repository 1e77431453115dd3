"""The doctor finds what is missing in a real deployment, one line each, and says what to do."""

from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis

from infra.cli.doctor.configuration import Configuration
from infra.cli.doctor.finding import Finding
from infra.cli.doctor.functions import bucket_finding, channels_finding, jobs_finding
from infra.cli.doctor.hook import hook_findings
from infra.cli.doctor.services import redis_findings
from infra.settings.edge import EdgeSettings
from infra.settings.functions import FunctionSettings
from infra.settings.worker import WorkerSettings
from tests.conftest import DeploymentFactory
from tests.harness import weekly_digest
from tests.harness.deployment import Deployment
from tests.harness.engines import Engines, Store
from tests.harness.hook_endpoint import HookEndpoint, answer_with
from tests.harness.stack import DOCTOR_S, bbgram
from tests.harness.waiting import eventually

BUCKET = "archive"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
URLS: dict[str, Any] = {"database_url": "postgresql://nowhere/chat", "redis_url": "redis://nowhere"}
WEB_PUSH: dict[str, Any] = {
    "vapid_private_key": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE",
    "vapid_subject": "mailto:admin@example.com",
}


@pytest.fixture
def empty_store(engines: Engines) -> Iterator[Store]:
    store = engines.new_store(migrated=False)
    yield store
    engines.release(store)


def report(chat: Deployment) -> dict[str, str]:
    """Return the line about each part of a deployment."""
    result = bbgram(
        "doctor", env={name: value for name, value in chat.env.items() if name.startswith("BBGRAM_")}
    )
    assert result.returncode == (1 if "WRONG" in result.stdout else 0)
    assert result.stderr == ""
    return {line.split()[1]: line for line in result.stdout.splitlines()}


def wrong(lines: dict[str, str]) -> dict[str, str]:
    """Return what to do about each part that is wrong."""
    return {subject: line.split(" -> ")[1] for subject, line in lines.items() if line.startswith("WRONG")}


def test_the_doctor_asks_for_the_processes_that_do_not_run(deploy: DeploymentFactory) -> None:
    chat = deploy(sweep_s=0.2)
    assert wrong(report(chat)) == {
        "workers": "start `bbgram worker`",
        "functions": (
            "start `bbgram worker --functions`; a functions worker that is busy answers after its run"
        ),
        "beat": "start `bbgram worker` and `bbgram beat`",
    }
    chat.start_worker()
    chat.start_functions()
    eventually(lambda: wrong(report(chat)).keys() == {"beat"}, "the workers are found", 40, pause_s=DOCTOR_S)
    assert wrong(report(chat))["beat"].startswith("start `bbgram beat`; ")
    beat = chat.start_beat()
    eventually(lambda: wrong(report(chat)) == {}, "beat is found", pause_s=DOCTOR_S)
    beat.stop()
    eventually(lambda: "beat" in wrong(report(chat)), "beat is missed", 40, pause_s=DOCTOR_S)


def test_the_doctor_asks_for_migrations_and_no_functions_worker_where_lambda_runs_them(
    deploy: DeploymentFactory, empty_store: Store
) -> None:
    lines = report(deploy(database_url=empty_store.database_url, beat_functions=False))
    assert wrong(lines)["postgres"] == "run `bbgram migrate`"
    assert "BBGRAM_BEAT_FUNCTIONS is false" in lines["functions"]


def test_a_redis_that_evicts_is_found(empty_store: Store) -> None:
    url = empty_store.redis_url
    with Redis.from_url(url) as redis:
        assert [finding.advice for finding in redis_findings(url)] == [None, None]
        redis.config_set("maxmemory-policy", "allkeys-lru")
        try:
            _, eviction = redis_findings(url)
        finally:
            redis.config_set("maxmemory-policy", "noeviction")
    assert eviction.line() == (
        "WRONG eviction  Redis may evict what is still needed: its policy is allkeys-lru "
        "-> set `maxmemory-policy noeviction` in Redis"
    )


def channels(device_channels: tuple[str, ...], **settings: Any) -> Finding:
    worker = WorkerSettings(**URLS, device_channels=device_channels)
    return channels_finding(worker, FunctionSettings(**URLS, **settings))


def hook(url: str | None, *, edge: bool = False, **settings: Any) -> list[Finding]:
    settings = {"hook_failure": "open", "hook_secrets": SECRET, "hook_url": url, **settings}
    edges = EdgeSettings(**{**URLS, "supabase_url": "http://nowhere"})
    return list(hook_findings(edges if edge else None, WorkerSettings(**URLS, **settings)))


def test_the_hook_is_asked_about_no_message() -> None:
    assert [one.advice for one in hook(None)] == [None]
    endpoint = HookEndpoint()
    try:
        (well,) = hook(endpoint.url, edge=True)
        assert well == Finding("hook", "the endpoint answers; messages without an answer pass")
        assert endpoint.asked == [[]]
        _, slow = hook(endpoint.url, edge=True, hook_timeout_s=2)
        assert (slow.advice or "").startswith("lower BBGRAM_HOOK_TIMEOUT_S")
        endpoint.misbehave = lambda handler: answer_with(handler, {}, status=401)
        (down,) = hook(endpoint.url)
        assert down.state == "the endpoint cannot be used: status 401"
        assert down.advice
    finally:
        endpoint.stop()


def test_incomplete_channels_are_reported() -> None:
    assert channels(("fcm", "webpush")) == Finding(
        "channels", "none is configured, so no device gets notifications"
    )
    assert channels(("log", "webpush"), **WEB_PUSH) == Finding(
        "channels", "notifications are sent by webpush"
    )
    assert channels(("fcm", "webpush"), **WEB_PUSH).advice == (
        "configure fcm, or remove them from BBGRAM_DEVICE_CHANNELS"
    )
    broken = channels(("webpush",), **{**WEB_PUSH, "vapid_private_key": "secret-word"})
    assert (broken.advice or "").startswith("BBGRAM_VAPID_PRIVATE_KEY or BBGRAM_VAPID_SUBJECT is wrong")
    assert "secret-word" not in broken.line()
    broken = channels(("fcm",), fcm_credentials="secret-word")
    assert (broken.advice or "").startswith("BBGRAM_FCM_CREDENTIALS is wrong: its file cannot be read")
    assert "secret-word" not in broken.line()


def test_the_doctor_says_when_jobs_run_or_what_is_wrong_with_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert jobs_finding(FunctionSettings(**URLS, jobs="no_team")).advice == (
        "BBGRAM_JOBS is wrong: no_team cannot be imported (ModuleNotFoundError: No module named 'no_team')."
    )
    monkeypatch.syspath_prepend(str(weekly_digest.EXAMPLES))
    assert jobs_finding(
        FunctionSettings(**URLS, jobs=weekly_digest.NAME, cleanup_cron="0 5 * * *")
    ) == Finding(
        "jobs",
        "offline_delivery at * * * * * UTC; erase_users at * * * * * UTC; "
        "cleanup at 0 5 * * * Europe/Berlin; weekly_digest at 0 9 * * 1 Europe/Berlin",
    )


def test_the_bucket_must_be_readable(s3: Any) -> None:
    settings = FunctionSettings(**URLS, archive_bucket=BUCKET)
    assert bucket_finding(FunctionSettings(**URLS)).advice is None
    assert (bucket_finding(settings).advice or "").startswith("create the bucket")
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    assert bucket_finding(settings) == Finding("archive", "the bucket archive can be read")


@pytest.mark.parametrize(
    ("changes", "advice"),
    [
        (
            {"supabase_jwt_secret": "short"},
            "BBGRAM_SUPABASE_JWT_SECRET is wrong: must have at least 32 bytes.",
        ),
        ({"auth_mode": "remote"}, "BBGRAM_SUPABASE_KEY is not set. BBGRAM_AUTH_MODE=remote needs it."),
    ],
)
def test_settings_with_which_an_edge_could_verify_no_token_are_not_complete(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], advice: str
) -> None:
    for setting, given in {**URLS, "supabase_url": "http://nowhere", **changes}.items():
        monkeypatch.setenv(f"BBGRAM_{setting.upper()}", str(given))
    configuration = Configuration.load()
    assert configuration.edge is None
    assert [finding.advice for finding in configuration.findings if finding.advice] == [advice]


@pytest.mark.parametrize(
    ("name", "value", "advice"),
    [
        ("text_chars", 6_000, "raise BBGRAM_PAYLOAD_BYTES to 73024, or lower BBGRAM_TEXT_CHARS"),
        ("page_max", 400, "raise BBGRAM_SEND_BYTES to 10009600, or lower BBGRAM_PAGE_MAX"),
        ("text_chars", 4_000, None),
    ],
)
def test_limits_of_edges_and_workers_that_do_not_fit_are_found(
    monkeypatch: pytest.MonkeyPatch, name: str, value: int, advice: str | None
) -> None:
    for setting, given in {**URLS, "supabase_url": "http://nowhere", name: value}.items():
        monkeypatch.setenv(f"BBGRAM_{setting.upper()}", str(given))
    findings = [finding.advice for finding in Configuration.load().findings if finding.advice]
    assert findings == ([advice] if advice else [])
