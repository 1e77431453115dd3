import pytest

from infra.store.profiles import username_key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Alice", "alice"),
        ("ALICE", "alice"),
        (" alice ", "alice"),
        ("\uff21\uff4c\uff49\uff43\uff45", "alice"),
        ("Straße", "STRASSE"),
        ("e\u0301mile", "\u00e9mile"),
        ("\ufb01sh", "fish"),
        ("\u212bngstr\u00f6m", "\u00e5ngstr\u00f6m"),
        ("\u1e9e", "ss"),
    ],
)
def test_names_that_look_alike_are_one(one: str, other: str) -> None:
    assert username_key(one) == username_key(other)


@pytest.mark.parametrize(
    ("one", "other"), [("alice", "alicia"), ("alice", "al ice"), ("a_b", "ab"), ("é", "e")]
)
def test_names_that_differ_stay_two(one: str, other: str) -> None:
    assert username_key(one) != username_key(other)


@pytest.mark.parametrize("name", ["Alice", "\u1e9e", "\ufb01", "\u0130", "e\u0301", " \u2003x ", "\u0345"])
def test_the_key_of_a_key_is_itself(name: str) -> None:
    assert username_key(username_key(name)) == username_key(name)
