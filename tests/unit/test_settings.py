"""Every wrong setting is one line that names it; nothing else gets into the process."""

import math
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from infra.settings.base import Settings, SettingsError
from infra.settings.edge import AuthMode, EdgeSettings
from infra.settings.functions import FunctionSettings
from infra.settings.store import StoreSettings
from infra.settings.unknown import unknown_variables
from infra.settings.worker import WorkerSettings
from infra.wire.webhooks import USUAL

GOOD = {
    "BBGRAM_REDIS_URL": "redis://127.0.0.1/0",
    "BBGRAM_DATABASE_URL": "postgresql://127.0.0.1/chat",
    "BBGRAM_SUPABASE_URL": "https://project.supabase.example/",
}
CLASSES: tuple[type[Settings], ...] = (EdgeSettings, WorkerSettings, FunctionSettings)

NOT_A_NUMBER = (
    "many",
    "",
    " ",
    "1,5",
    "0x10",
    "1e400",
    "-1e400",
    "inf",
    "-Infinity",
    "nan",
    "-1",
    "\u0663",
    "\uff13",
    "9" * 5_000,
)
"""Values that no number may have; an empty one counts as not set."""
NOT_A_REDIS = (
    "127.0.0.1:6379",
    "http://h",
    "redis://",
    "redis:/h",
    "redis://h:port",
    "redis://h:70000",
    "redis://:pa/ss@h:1",
    "redis://[::1",
    "redis://h?socket_timeout=abc",
    "redis://h?colour=blue",
    "redis://h?protocol=4",
    "rediss://h?ssl_cert_reqs=CERT_REQUIRED",
    "redis+sentinel://",
    "redis+sentinel://h:26379",
    "redis+sentinel://h:26379/",
    "redis+sentinel://h:26379,/primary",
    "redis+sentinel://h:port/primary",
    "redis+sentinel://h:1,i:0/primary",
    "redis+sentinel://h/primary/one",
    "redis+sentinel://h/primary/0/1",
    "redis+sentinel://h/primary?colour=blue",
    "sentinel://h/primary",
)
NOT_A_POSTGRES = (
    "nonsense",
    "mysql://h/chat",
    "postgresql://h:port/chat",
    "postgresql:/h/chat",
    "://h",
    "postgresql://a:1,b:port/chat",
    "postgresql://a:1,b:70000/chat",
    "postgresql:///chat?host=a,b,c&port=1,2",
)
NOT_AN_HTTP = ("project.supabase.example", "ftp://h", "https://", "https://h:port", "http://[::1")


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give every test good settings."""
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)


def refuses(settings: type[Settings], told: str) -> str:
    """Expect one line that starts like this; return it."""
    with pytest.raises(SettingsError) as error:
        settings.load()
    line = str(error.value)
    assert line.startswith(told)
    assert line.isprintable()
    return line


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        (EdgeSettings, "BBGRAM_REDIS_URL"),
        (EdgeSettings, "BBGRAM_SUPABASE_URL"),
        (StoreSettings, "BBGRAM_DATABASE_URL"),
        (WorkerSettings, "BBGRAM_REDIS_URL"),
    ],
)
def test_a_missing_setting_is_one_line_that_names_it(
    monkeypatch: pytest.MonkeyPatch, settings: type[Settings], name: str
) -> None:
    monkeypatch.delenv(name)
    refuses(settings, f"{name} is not set.")


def numbers() -> list[tuple[type[Settings], str]]:
    """Return every setting that is a number."""
    found = []
    for settings in CLASSES:
        for name, field in settings.model_fields.items():
            if "float" in str(field.annotation) or "int" in str(field.annotation):
                found.append((settings, name))
    return found


@pytest.mark.parametrize(
    "value", [value for value in NOT_A_NUMBER if value], ids=lambda value: ascii(value[:12])
)
@pytest.mark.parametrize(("settings", "name"), numbers())
def test_a_malformed_number_is_refused(
    monkeypatch: pytest.MonkeyPatch, settings: type[Settings], name: str, value: str
) -> None:
    monkeypatch.setenv(f"BBGRAM_{name.upper()}", value)
    refuses(settings, f"BBGRAM_{name.upper()} is wrong: ")


@pytest.mark.parametrize(("settings", "name"), numbers())
def test_a_number_is_bounded(monkeypatch: pytest.MonkeyPatch, settings: type[Settings], name: str) -> None:
    for value in ("1e300", "1" + "0" * 30):
        monkeypatch.setenv(f"BBGRAM_{name.upper()}", value)
        refuses(settings, f"BBGRAM_{name.upper()} is wrong: ")


@pytest.mark.parametrize("settings", CLASSES)
def test_the_defaults_are_within_their_bounds(settings: type[Settings]) -> None:
    loaded = settings.load()
    for name, value in loaded.model_dump(exclude_defaults=False).items():
        if isinstance(value, int | float):
            assert math.isfinite(value)
            assert getattr(settings(**{name: value}), name) == value


@pytest.mark.parametrize(
    ("settings", "name", "values"),
    [
        (EdgeSettings, "REDIS_URL", NOT_A_REDIS),
        (WorkerSettings, "REDIS_URL", NOT_A_REDIS),
        (FunctionSettings, "REDIS_URL", NOT_A_REDIS),
        (StoreSettings, "DATABASE_URL", NOT_A_POSTGRES),
        (EdgeSettings, "SUPABASE_URL", NOT_AN_HTTP),
        (EdgeSettings, "AUTH_MODE", ("none", "LOCAL", "l\u00f6cal")),
        (EdgeSettings, "HOST", ("\udcff", "h" * 64, ".h", "h..h")),
        (EdgeSettings, "SUPABASE_KEY", ("\udcff",)),
        (EdgeSettings, "SUPABASE_JWT_SECRET", ("short", "x" * 31, "\u00fc" * 15)),
        (EdgeSettings, "JWT_ISSUER", (",", " , ")),
        (EdgeSettings, "JWT_AUDIENCE", (",", "missing", "authenticated,missing")),
        (EdgeSettings, "JWKS_URL", NOT_AN_HTTP),
        (EdgeSettings, "CLOCK_SKEW_S", ("-1", "301")),
        (EdgeSettings, "ALLOW_ANONYMOUS", ("perhaps",)),
        (EdgeSettings, "REQUIRE_AAL", ("aal3", "2", "AAL2")),
        (EdgeSettings, "PORT", ("70000", "-1", "3000.5", "http")),
        (EdgeSettings, "LANES", ("0", "65")),
        (EdgeSettings, "RATE_EVENTS", ("0.0001", "1e-320")),
        (EdgeSettings, "RATE_EVENTS_BURST", ("0",)),
        (EdgeSettings, "LEASE_S", ("0", "1e-320", "601")),
        (WorkerSettings, "PROVISION_PROFILES", ("perhaps", "2", "\u00fc")),
        (WorkerSettings, "DEVICE_CHANNELS", ("fcm,pigeon", "FCM", "fcm;apns")),
        (WorkerSettings, "PAGE", ("0",)),
        (
            FunctionSettings,
            "QUIET_HOURS",
            ("22-7", "24:00-07:00", "22:00-22:00", "2\u0662:00-07:00", "always"),
        ),
        (FunctionSettings, "TIME_ZONE", ("Berlin", "UTC+1", "../etc/passwd", "\udcff")),
        (FunctionSettings, "NOTIFICATION_DAYS", ("1",)),
        (FunctionSettings, "RETENTION_DAYS", ("0", "1.5")),
        (WorkerSettings, "WEBHOOKS", ("App", "app:", "app:message.eaten", "app,app", "app message.read")),
        (
            WorkerSettings,
            "HOOK_URL",
            (
                "app.example",
                "http://app.example/",
                "http://192.168.0.1/",
                "http://127.0.0.1.app.example/",
                "https://127.0.0.1/",
                "https://app.example:8443/",
                "https://user:word@app.example/",
            ),
        ),
        (
            WorkerSettings,
            "HOOK_SECRETS",
            (" ", "whsec_short", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw,other"),
        ),
        (WorkerSettings, "HOOK_FAILURE", ("OPEN", "maybe")),
        (WorkerSettings, "HOOK_TIMEOUT_S", ("0", "5.1", "nan")),
        (
            FunctionSettings,
            "WEBHOOKS_URLS",
            (
                "app",
                "app=",
                "app=http://app.example/",
                "app=https://127.0.0.1/",
                "a=https://a.b,a=https://a.b",
            ),
        ),
        (FunctionSettings, "WEBHOOKS_SECRETS", ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "app=whsec_short")),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it(
    monkeypatch: pytest.MonkeyPatch, settings: type[Settings], name: str, values: tuple[str, ...]
) -> None:
    for value in values:
        monkeypatch.setenv(f"BBGRAM_{name}", value)
        refuses(settings, f"BBGRAM_{name} is wrong: ")


def test_every_wrong_setting_has_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BBGRAM_SUPABASE_URL")
    monkeypatch.setenv("BBGRAM_REDIS_URL", "nonsense")
    monkeypatch.setenv("BBGRAM_PORT", "many")
    with pytest.raises(SettingsError) as error:
        EdgeSettings.load()
    missing, *wrong = error.value.lines("Set it.")
    assert missing == "BBGRAM_SUPABASE_URL is not set. Set it."
    assert [line.partition(" is wrong: ")[0] for line in wrong] == ["BBGRAM_REDIS_URL", "BBGRAM_PORT"]
    assert str(error.value).splitlines() == error.value.lines()


@pytest.mark.parametrize(
    ("settings", "values", "told"),
    [
        (
            EdgeSettings,
            {"LEASE_REFRESH_S": 15, "REDISPATCH_S": 10, "PAYLOAD_BYTES": 1_000_000},
            ["BBGRAM_REDISPATCH_S", "BBGRAM_LEASE_REFRESH_S", "BBGRAM_PAYLOAD_BYTES"],
        ),
        (
            WorkerSettings,
            {"HOOK_URL": "http://127.0.0.1:8000/hook"},
            ["BBGRAM_HOOK_SECRETS", "BBGRAM_HOOK_FAILURE"],
        ),
        (
            FunctionSettings,
            {
                "VAPID_SUBJECT": "mailto:a@b.c",
                "OFFLINE_INTERVAL_S": 172_801,
                "NOTIFICATION_DAYS": 2,
                "ARCHIVE_BUCKET": "bucket",
                "RETENTION_DAYS": 91,
            },
            ["BBGRAM_VAPID_PRIVATE_KEY", "BBGRAM_OFFLINE_INTERVAL_S", "BBGRAM_RETENTION_DAYS"],
        ),
    ],
)
def test_every_contradiction_has_a_line(
    monkeypatch: pytest.MonkeyPatch, settings: type[Settings], values: dict[str, Any], told: list[str]
) -> None:
    for name, value in values.items():
        monkeypatch.setenv(f"BBGRAM_{name}", str(value))
    with pytest.raises(SettingsError) as error:
        settings.load()
    assert [line.split()[0] for line in error.value.lines()] == told


RELATIONS: list[tuple[type[Settings], dict[str, Any], str]] = [
    (
        EdgeSettings,
        {"LEASE_REFRESH_S": 15},
        "BBGRAM_LEASE_REFRESH_S is wrong: 15 is not less than BBGRAM_LEASE_S (15), so the edge would lose "
        "its lease between two refreshes. Lower it, or raise BBGRAM_LEASE_S.",
    ),
    (EdgeSettings, {"LEASE_S": 4}, "BBGRAM_LEASE_REFRESH_S is wrong: 5 is not less than BBGRAM_LEASE_S (4)"),
    (
        EdgeSettings,
        {"REDISPATCH_S": 10},
        "BBGRAM_REDISPATCH_S is wrong: 10 is not less than BBGRAM_DEADLINE_S (10)",
    ),
    (
        EdgeSettings,
        {"DEADLINE_S": 1.5},
        "BBGRAM_REDISPATCH_S is wrong: 2 is not less than BBGRAM_DEADLINE_S (1.5)",
    ),
    (EdgeSettings, {"PAYLOAD_BYTES": 1_000_000}, "BBGRAM_PAYLOAD_BYTES is wrong: "),
    (EdgeSettings, {"TRANSPORT_BYTES": 1_000}, "BBGRAM_PAYLOAD_BYTES is wrong: "),
    (
        EdgeSettings,
        {"AUTH_MODE": "remote"},
        "BBGRAM_SUPABASE_KEY is not set. BBGRAM_AUTH_MODE=remote needs it.",
    ),
    (WorkerSettings, {"PAGE": 101}, "BBGRAM_PAGE is wrong: 101 is more than BBGRAM_PAGE_MAX (100)"),
    (WorkerSettings, {"PAGE_MAX": 49}, "BBGRAM_PAGE is wrong: 50 is more than BBGRAM_PAGE_MAX (49)"),
    (
        FunctionSettings,
        {"VAPID_SUBJECT": "mailto:a@b.c"},
        "BBGRAM_VAPID_PRIVATE_KEY is not set, but BBGRAM_VAPID_SUBJECT is.",
    ),
    (
        FunctionSettings,
        {"VAPID_PRIVATE_KEY": "secret"},
        "BBGRAM_VAPID_SUBJECT is not set, but BBGRAM_VAPID_PRIVATE_KEY is.",
    ),
    (
        FunctionSettings,
        {"APNS_KEY": "secret", "APNS_TOPIC": "com.example.chat"},
        "BBGRAM_APNS_KEY_ID, BBGRAM_APNS_TEAM_ID must be set: APNs needs all of BBGRAM_APNS_KEY, ",
    ),
    (
        FunctionSettings,
        {"FCM_CREDENTIALS": "secret", "SNS_FCM_ARN": "arn"},
        "BBGRAM_FCM_CREDENTIALS and BBGRAM_SNS_FCM_ARN are both set. Unset one of them.",
    ),
    (
        FunctionSettings,
        {
            **{"APNS_KEY": "secret", "APNS_TOPIC": "com.example.chat", "APNS_KEY_ID": "ABC123DEFG"},
            **{"APNS_TEAM_ID": "DEF123GHIJ", "SNS_APNS_ARN": "arn"},
        },
        "BBGRAM_APNS_KEY and BBGRAM_SNS_APNS_ARN are both set. Unset one of them.",
    ),
    (
        FunctionSettings,
        {"OFFLINE_INTERVAL_S": 172_801, "NOTIFICATION_DAYS": 2},
        "BBGRAM_OFFLINE_INTERVAL_S is wrong: 172801 s is longer than notifications are kept. "
        "Lower it, or raise BBGRAM_NOTIFICATION_DAYS (2).",
    ),
    (
        FunctionSettings,
        {"ARCHIVE_BUCKET": "bucket", "RETENTION_DAYS": 91},
        "BBGRAM_RETENTION_DAYS is wrong: after 91 days messages would be deleted before they are archived. "
        "Set it to 92 or more, or lower BBGRAM_ARCHIVE_DAYS (90).",
    ),
    (
        FunctionSettings,
        {"ARCHIVE_BUCKET": "bucket", "RETENTION_DAYS": 102, "UNSEND_S": 8_640_001},
        "BBGRAM_RETENTION_DAYS is wrong: after 102 days messages would be deleted before they are archived. "
        "Set it to 103 or more, or lower BBGRAM_UNSEND_S (8640001).",
    ),
    (
        FunctionSettings,
        {"ARCHIVE_BUCKET": "bucket", "RETENTION_DAYS": 101, "EDIT_S": 8_640_000},
        "BBGRAM_RETENTION_DAYS is wrong: after 101 days messages would be deleted before they are archived. "
        "Set it to 102 or more, or lower BBGRAM_EDIT_S (8640000).",
    ),
    (
        FunctionSettings,
        {"WEBHOOKS": "app", "WEBHOOKS_URLS": "app=https://app.example/"},
        "BBGRAM_WEBHOOKS_SECRETS lacks app, which BBGRAM_WEBHOOKS names.",
    ),
    (
        FunctionSettings,
        {
            "WEBHOOKS": "app",
            "WEBHOOKS_URLS": "other=https://app.example/",
            "WEBHOOKS_SECRETS": "app=whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        },
        "BBGRAM_WEBHOOKS_URLS lacks app, which BBGRAM_WEBHOOKS names.",
    ),
]


@pytest.mark.parametrize(("settings", "values", "told"), RELATIONS)
def test_settings_that_contradict_one_another_are_one_line(
    monkeypatch: pytest.MonkeyPatch, settings: type[Settings], values: dict[str, Any], told: str
) -> None:
    for name, value in values.items():
        monkeypatch.setenv(f"BBGRAM_{name}", str(value))
    assert "secret" not in refuses(settings, told)


@pytest.mark.parametrize(
    ("settings", "values"),
    [
        (EdgeSettings, {"LEASE_S": 5.1}),
        (EdgeSettings, {"REDISPATCH_S": 9.99}),
        (EdgeSettings, {"PAYLOAD_BYTES": 999_999}),
        (EdgeSettings, {"RATE_EVENTS": 1_000, "RATE_EVENTS_BURST": 1, "RATE_BYTES": 0}),
        (WorkerSettings, {"PAGE": 100}),
        (WorkerSettings, {"SWEEP_S": 60, "SWEEP_AFTER_S": 1}),
        (FunctionSettings, {"OFFLINE_INTERVAL_S": 172_800, "NOTIFICATION_DAYS": 2}),
        (FunctionSettings, {"ARCHIVE_BUCKET": "bucket", "RETENTION_DAYS": 92}),
        (FunctionSettings, {"ARCHIVE_BUCKET": "bucket", "RETENTION_DAYS": 102, "UNSEND_S": 8_640_000}),
        (FunctionSettings, {"RETENTION_DAYS": 1}),
        (FunctionSettings, {"VAPID_SUBJECT": "mailto:a@b.c", "VAPID_PRIVATE_KEY": "key"}),
    ],
)
def test_consistent_settings_are_accepted(
    monkeypatch: pytest.MonkeyPatch, settings: type[Settings], values: dict[str, Any]
) -> None:
    for name, value in values.items():
        monkeypatch.setenv(f"BBGRAM_{name}", str(value))
    assert settings.load()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "mysql://me:secret@127.0.0.1/chat"),
        ("DATABASE_URL", "postgresql://me:x@127.0.0.1:secret/chat"),
        ("REDIS_URL", "redis://:secret/@127.0.0.1"),
        ("REDIS_URL", "redis://:x@127.0.0.1:secret"),
        ("REDIS_URL", "redis+sentinel://:secret/@127.0.0.1/primary"),
        ("REDIS_URL", "redis+sentinel://:secret@127.0.0.1:x/primary?sentinel_password=secret"),
    ],
)
def test_a_complaint_never_shows_the_value(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"BBGRAM_{name}", value)
    assert "secret" not in refuses(WorkerSettings, f"BBGRAM_{name} is wrong: ")


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost",
        "rediss://user:p%40ss@redis.example:6380/3?ssl_cert_reqs=required",
        "redis://[::1]:6379/0",
        "redis+sentinel://one,two:26380,[::1]:26381/primary",
        "redis+sentinel://user:p%40ss@one/primary/3?sentinel_username=me&sentinel_password=x&socket_timeout=2",
        "rediss+sentinel://one/primary/0?ssl_cert_reqs=required",
    ],
)
def test_a_redis_address_may_have_all_its_parts(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("BBGRAM_REDIS_URL", url)
    assert EdgeSettings.load().redis_url == url


@pytest.mark.parametrize("scheme", ["rediss", "rediss+sentinel"])
def test_certificates_are_verified_unless_the_address_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    for given, read in {
        f"{scheme}://h/primary": f"{scheme}://h/primary?ssl_cert_reqs=required",
        f"{scheme}://h/primary?ssl_ca_certs=x": f"{scheme}://h/primary?ssl_ca_certs=x&ssl_cert_reqs=required",
        f"{scheme}://h/primary?ssl_cert_reqs=none": f"{scheme}://h/primary?ssl_cert_reqs=none",
    }.items():
        monkeypatch.setenv("BBGRAM_REDIS_URL", given)
        assert EdgeSettings.load().redis_url == read


@pytest.mark.parametrize("prefix", ["a b", "x" * 101, "a*", "{a}"])
def test_a_prefix_is_short_and_plain(monkeypatch: pytest.MonkeyPatch, prefix: str) -> None:
    monkeypatch.setenv("BBGRAM_REDIS_PREFIX", prefix)
    refuses(WorkerSettings, "BBGRAM_REDIS_PREFIX is wrong: ")


def test_functions_can_do_without_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BBGRAM_REDIS_URL")
    assert FunctionSettings.load().redis_url is None


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_a_postgres_address_gets_its_driver(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    monkeypatch.setenv("BBGRAM_DATABASE_URL", f"{scheme}://me@127.0.0.1/chat")
    assert WorkerSettings.load().database_url == "postgresql+psycopg://me@127.0.0.1/chat"


@pytest.mark.parametrize(
    ("given", "options"),
    [
        ("me:p%2Cw@db1:5433,db2/chat", {"host": "db1,db2", "port": "5433,"}),
        ("db1,[::1]:6/chat?sslmode=require", {"host": "db1,::1", "port": ",6", "sslmode": "require"}),
        ("/chat?host=db1,db2&port=1,2", {"host": "db1,db2", "port": "1,2"}),
        ("/chat?host=db1:1&host=db2:2", {"host": "db1,db2", "port": "1,2"}),
    ],
)
def test_of_several_postgres_servers_the_one_that_accepts_writes_is_used(
    monkeypatch: pytest.MonkeyPatch, given: str, options: dict[str, str]
) -> None:
    monkeypatch.setenv("BBGRAM_DATABASE_URL", f"postgresql://{given}")
    url = make_url(WorkerSettings.load().database_url)
    _, found = url.get_dialect()().create_connect_args(url)
    assert found.items() >= {"dbname": "chat", "target_session_attrs": "read-write", **options}.items()
    assert found.get("password") in ("p,w", None)


def test_another_choice_of_server_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BBGRAM_DATABASE_URL", "postgresql://a,b/chat?target_session_attrs=primary")
    assert make_url(WorkerSettings.load().database_url).query["target_session_attrs"] == "primary"


def test_origins_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BBGRAM_ORIGINS", " https://a.example, http://b.example ,,")
    assert EdgeSettings.load().origins == ("https://a.example", "http://b.example")


@pytest.mark.parametrize(
    ("value", "origins"),
    [
        ("HTTPS://App.Example:443/", ("https://app.example",)),
        (
            "https://bücher.example,wss://b.example:8443",
            ("https://xn--bcher-kva.example", "https://b.example:8443"),
        ),
        ("capacitor://localhost, file://, null", ("capacitor://localhost", "file://", "null")),
        ("http://[::1]:5173, *", ("http://[::1]:5173", "*")),
    ],
)
def test_an_origin_may_be_spelled_in_many_ways(
    monkeypatch: pytest.MonkeyPatch, value: str, origins: tuple[str, ...]
) -> None:
    monkeypatch.setenv("BBGRAM_ORIGINS", value)
    assert EdgeSettings.load().origins == origins


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("app.example", "entry 1 (`app.example`) has no scheme such as https://"),
        ("localhost:5173", "entry 1 (`localhost:5173`) has no scheme"),
        ("https://a.example,b.example", "entry 2 (`b.example`) has no scheme"),
        (
            "https://app.example/chat",
            "entry 1 (`https://app.example/chat`) has more than scheme, host and port",
        ),
        ("https://app.example?x", "has more than scheme, host and port"),
        ("https://app.example//", "has more than scheme, host and port"),
        ("https://*.example", "has a wildcard, which only a lone * may be"),
        ("https://*", "has a wildcard"),
        ("http*://app.example", "has more than"),
        ("https://a.example https://b.example", "has more than scheme, host and port"),
        ("https://a.example;b", "has no valid host name"),
        ("https://app.example:65536", "has no valid port"),
        ("https://app.example:port", "has no valid host and port"),
        ("https://", "has no valid host name"),
        ("https://app..example", "has no valid host name"),
        ("https://[::1", "has no valid host and port"),
        ("https://[::g]", "has no valid host and port"),
        ("https://[1::2::3]", "has no valid address"),
        ("https://1.2.3", "has no valid address"),
        ("https://💩.example", "entry 1 (`https://\\U0001f4a9.example`) has a host name that is not valid"),
        ("https://app.\x1bexample", "entry 1 (`https://app.\\x1bexample`) has no valid host name"),
        ("https://me:secret@app.example", "entry 1 (`app.example`) has no valid host"),
    ],
)
def test_a_wrong_origin_is_one_line_that_names_it(
    monkeypatch: pytest.MonkeyPatch, value: str, message: str
) -> None:
    monkeypatch.setenv("BBGRAM_ORIGINS", value)
    with pytest.raises(SettingsError) as error:
        EdgeSettings.load()
    (line,) = error.value.lines()
    assert line.startswith("BBGRAM_ORIGINS is wrong: entry ")
    assert message in line
    assert line.endswith("; write it like https://app.example:8443.")
    assert "secret" not in line
    assert line.isprintable()


def test_issuer_and_keys_follow_from_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BBGRAM_AUTH_MODE", "remote")
    monkeypatch.setenv("BBGRAM_SUPABASE_KEY", "sb_publishable_key")
    settings = EdgeSettings.load()
    assert settings.auth_url == "https://project.supabase.example/auth/v1"
    assert settings.jwt_issuer == ("https://project.supabase.example/auth/v1",)
    assert settings.jwks_url == "https://project.supabase.example/auth/v1/.well-known/jwks.json"
    assert settings.auth_mode is AuthMode.REMOTE


def test_issuer_and_keys_can_be_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """An issuer is compared as it is written: a slash at its end counts."""
    monkeypatch.setenv("BBGRAM_JWT_ISSUER", "https://a.example/, http://b.example/auth/v1 ,missing")
    monkeypatch.setenv("BBGRAM_JWKS_URL", "http://kong:8000/auth/v1/keys/")
    monkeypatch.setenv("BBGRAM_JWT_AUDIENCE", "authenticated,mobile")
    settings = EdgeSettings.load()
    assert settings.jwt_issuer == ("https://a.example/", "http://b.example/auth/v1", "missing")
    assert settings.jwks_url == "http://kong:8000/auth/v1/keys/"
    assert settings.jwt_audience == ("authenticated", "mobile")


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BBGRAM_PORT", "")
    assert EdgeSettings.load().port == 3000


def test_a_file_is_read_only_when_it_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("BBGRAM_REDIS_URL")
    monkeypatch.setenv("BBGRAM_PORT", "3200")
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "stack.env"
    file.write_text("BBGRAM_REDIS_URL=redis://127.0.0.1:1/0\nBBGRAM_PORT=3100\n")
    with pytest.raises(SettingsError, match="BBGRAM_REDIS_URL is not set"):
        EdgeSettings.load()
    settings = EdgeSettings.load(file)
    assert (settings.redis_url, settings.port) == ("redis://127.0.0.1:1/0", 3200)


def test_a_command_line_option_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BBGRAM_PORT", "3100")
    assert EdgeSettings.load(port=3300).port == 3300


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("BBGRAM_REDISURL", "BBGRAM_REDIS_URL"),
        ("BBGRAM_ORIGIN", "BBGRAM_ORIGINS"),
        ("BBGRAM_DATABSE_URL", "BBGRAM_DATABASE_URL"),
        ("BBGRAM_DATADIR", "BBGRAM_DATA_DIR"),
        ("bbgram_rate_event", "BBGRAM_RATE_EVENTS"),
        ("BBGRAM_", ""),
        ("BBGRAM_QQQQ", ""),
    ],
)
def test_a_variable_that_is_no_setting_is_found_with_the_nearest_one(name: str, nearest: str) -> None:
    assert list(unknown_variables([*GOOD, name, "PORT", "BBGRAMS"])) == [(name, nearest)]


@pytest.mark.parametrize("settings", CLASSES)
def test_every_setting_of_every_deployable_is_known(settings: type[Settings]) -> None:
    names = [f"BBGRAM_{name.upper()}" for name in settings.model_fields]
    assert list(unknown_variables([*names, *map(str.lower, names), "BBGRAM_WEBHOOK_SECRET_SECRET"])) == []


def test_an_endpoint_without_events_gets_all() -> None:
    settings = WorkerSettings.load(
        database_url="postgresql://nowhere/chat",
        redis_url="redis://nowhere",
        webhooks="app, audit : message.created  message.read ",
    )
    assert settings.endpoints == ("app", "audit")
    assert settings.subscriptions.keys() == set(USUAL)
    assert list(settings.subscriptions["message.read"]) == ["app", "audit"]
    assert list(settings.subscriptions["chat.created"]) == ["app"]
