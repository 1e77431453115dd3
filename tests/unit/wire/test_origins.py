import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.wire.origins import is_origin_of_host, origin_of


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("HTTPS://App.Example:443/", "https://app.example"),
        ("ws://app.example", "http://app.example"),
        ("wss://app.example:80", "https://app.example:80"),
        ("https://Bücher.example.", "https://xn--bcher-kva.example"),
        ("http://[0:0::1]:080", "http://[::1]"),
        ("null", "null"),
        ("file:///", "file://"),
    ],
)
def test_an_origin_has_one_spelling(text: str, origin: str) -> None:
    assert origin_of(text) == origin
    assert origin_of(origin) == origin


NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,20}(\.[a-z][a-z0-9]{1,10}){0,3}", fullmatch=True)


@given(st.sampled_from(["http", "https"]), NAMES, NAMES, st.none() | st.integers(1, 65_535))
def test_only_an_equal_host_and_port_are_the_origins_own(
    scheme: str, name: str, other: str, port: int | None
) -> None:
    suffix = "" if port is None else f":{port}"
    origin = origin_of(f"{scheme}://{name}{suffix}")
    assert is_origin_of_host(origin, f"{name.upper()}.{suffix}")
    assert is_origin_of_host(origin, f"{other}{suffix}") is (name == other)


@given(st.text(max_size=40), st.text(max_size=40))
def test_whatever_is_sent_is_an_origin_or_a_value_error(before: str, after: str) -> None:
    for text in (before + after, f"{before}://{after}", f"https://{after}", f"https://app.example{after}"):
        try:
            origin = origin_of(text)
        except ValueError:
            continue
        assert origin.isascii()
        assert origin_of(origin) == origin
