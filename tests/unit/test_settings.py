from pathlib import Path

import pytest

from infra.settings import AuthMode, EdgeSettings, Settings, SettingsError, StoreSettings, WorkerSettings

GOOD = {
    "BBGRAM_REDIS_URL": "redis://127.0.0.1/0",
    "BBGRAM_DATABASE_URL": "postgresql://127.0.0.1/chat",
    "BBGRAM_SUPABASE_URL": "https://project.supabase.example/",
}


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Give every test good settings and an empty data folder."""
    monkeypatch.setenv("BBGRAM_DATA_DIR", str(tmp_path))
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)


def complaint(settings: type[Settings]) -> str:
    with pytest.raises(SettingsError) as error:
        settings.load()
    return str(error.value)


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
    assert complaint(settings).startswith(f"{name} is not set.")
    assert "\n" not in complaint(settings)


@pytest.mark.parametrize(
    ("settings", "name", "value"),
    [
        (EdgeSettings, "BBGRAM_PORT", "many"),
        (EdgeSettings, "BBGRAM_PORT", "70000"),
        (EdgeSettings, "BBGRAM_LANES", "0"),
        (EdgeSettings, "BBGRAM_AUTH_MODE", "none"),
        (EdgeSettings, "BBGRAM_SUPABASE_URL", "project.supabase.example"),
        (EdgeSettings, "BBGRAM_LEASE_S", "-1"),
        (EdgeSettings, "BBGRAM_REDIS_URL", "127.0.0.1:6379"),
        (EdgeSettings, "BBGRAM_RATE_EVENTS", "-1"),
        (EdgeSettings, "BBGRAM_RATE_EVENTS_BURST", "0"),
        (EdgeSettings, "BBGRAM_SOCKETS_PER_USER", "-1"),
        (WorkerSettings, "BBGRAM_DATABASE_URL", "mysql://127.0.0.1/chat"),
        (WorkerSettings, "BBGRAM_DATABASE_URL", "nonsense"),
        (WorkerSettings, "BBGRAM_PAGE", "0"),
        (WorkerSettings, "BBGRAM_PROVISION_PROFILES", "perhaps"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it(
    monkeypatch: pytest.MonkeyPatch, settings: type[Settings], name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    assert complaint(settings).startswith(f"{name} is wrong: ")
    assert "\n" not in complaint(settings)


def test_a_complaint_never_shows_the_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BBGRAM_DATABASE_URL", "mysql://me:secret@127.0.0.1/chat")
    assert "secret" not in complaint(WorkerSettings)


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_a_postgres_address_gets_its_driver(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    monkeypatch.setenv("BBGRAM_DATABASE_URL", f"{scheme}://me@127.0.0.1/chat")
    assert WorkerSettings.load().database_url == "postgresql+psycopg://me@127.0.0.1/chat"


def test_origins_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BBGRAM_ORIGINS", " https://a.example, http://b.example ,,")
    assert EdgeSettings.load().origins == ("https://a.example", "http://b.example")


def test_issuer_and_keys_follow_from_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BBGRAM_AUTH_MODE", "remote")
    settings = EdgeSettings.load()
    assert settings.issuer == "https://project.supabase.example/auth/v1"
    assert settings.jwks_url == "https://project.supabase.example/auth/v1/.well-known/jwks.json"
    assert settings.auth_mode is AuthMode.REMOTE


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BBGRAM_PORT", "")
    assert EdgeSettings.load().port == 3000


def test_what_the_environment_lacks_comes_from_the_local_stack(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("BBGRAM_REDIS_URL")
    (tmp_path / "stack.env").write_text("BBGRAM_REDIS_URL=redis://127.0.0.1:1/0\nBBGRAM_PORT=3100\n")
    monkeypatch.setenv("BBGRAM_PORT", "3200")
    settings = EdgeSettings.load()
    assert (settings.redis_url, settings.port) == ("redis://127.0.0.1:1/0", 3200)


def test_a_command_line_option_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BBGRAM_PORT", "3100")
    assert EdgeSettings.load(port=3300).port == 3300
