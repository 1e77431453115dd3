"""API keys: what is printed once, and what an edge is told."""

from hashlib import sha256

import pytest
from click.testing import CliRunner

from infra.cli.main import main
from infra.settings.api_keys import ApiKey, make_key
from infra.settings.base import SettingsError
from infra.settings.edge import EdgeSettings
from infra.wire.server_api import Scope

GIVEN = {"redis_url": "redis://127.0.0.1:1", "supabase_url": "http://127.0.0.1:1"}
DIGEST = "0" * 64


def test_a_key_is_random_and_only_its_hash_is_kept() -> None:
    key, known = make_key("shop", [Scope.READ, Scope.MESSAGES])
    assert key.startswith("bbk_")
    assert len(key) >= 4 + 43
    assert key not in str(known)
    assert str(known) == f"shop:messages+read:{sha256(key.encode()).hexdigest()}"
    assert make_key("shop", [Scope.READ])[0] != key


def test_an_edge_reads_several_keys() -> None:
    (_, one), (_, other) = make_key("shop", list(Scope)), make_key("reader", [Scope.READ])
    settings = EdgeSettings.load(None, **GIVEN, api_keys=f" {one} ,{other},")
    assert settings.api_keys == (one, other)
    assert EdgeSettings.load(None, **GIVEN).api_keys == ()


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        (f"Shop:read:{DIGEST}", "has no valid name"),
        (f"{'x' * 33}:read:{DIGEST}", "has no valid name"),
        ("shop", "does not end with 64"),
        ("shop:read:bbk_a-key-in-clear", "does not end with 64"),
        (f"shop:write:{DIGEST}", "has a scope that is none of messages, users, read, moderate"),
        (f"shop::{DIGEST}", "has a scope"),
    ],
)
def test_a_wrong_entry_is_one_line_that_does_not_show_it(entry: str, complaint: str) -> None:
    _, known = make_key("good", [Scope.READ])
    with pytest.raises(SettingsError) as error:
        EdgeSettings.load(None, **GIVEN, api_keys=f"{known},{entry}")
    (line,) = error.value.lines()
    assert line.startswith("BBGRAM_API_KEYS is wrong: entry 2 ")
    assert complaint in line
    assert entry not in line


def test_the_command_prints_a_key_and_the_entry_that_lets_it_in() -> None:
    done = CliRunner().invoke(main, ["api-key", "create", "shop", "--scope", "read"])
    assert done.exit_code == 0
    words = dict(line.split() for line in done.stdout.splitlines())
    known = ApiKey.parse(words["entry"])
    assert (known.name, known.scopes) == ("shop", frozenset({Scope.READ}))
    assert known.digest == sha256(words["key"].encode()).digest()


def test_a_key_has_all_scopes_unless_told_otherwise() -> None:
    done = CliRunner().invoke(main, ["api-key", "create", "shop"])
    assert ":messages+users+read+moderate:" in done.stdout


def test_the_command_refuses_a_name_that_no_edge_would_read() -> None:
    done = CliRunner().invoke(main, ["api-key", "create", "My Shop"])
    assert done.exit_code == 2
