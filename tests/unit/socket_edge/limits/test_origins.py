import pytest

from infra.wire.errors import ErrorCode
from socket_edge.limits.origins import ForbiddenOrigin, Origins

HOST = "chat.test"
LISTED = ("https://app.example", "http://localhost:5173", "https://bücher.example", "capacitor://localhost")


def test_a_client_without_an_origin_may_connect() -> None:
    Origins(()).check("", HOST)


@pytest.mark.parametrize("origin", ["https://anything.example", "null", "file://", "no origin at all"])
def test_with_a_star_everybody_may_connect(origin: str) -> None:
    Origins(("*",)).check(origin, HOST)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://chat.test", "chat.test"),
        ("http://chat.test", "chat.test"),
        ("https://chat.test", "chat.test:443"),
        ("http://chat.test", "chat.test:80"),
        ("https://chat.test:443", "chat.test"),
        ("http://chat.test:80", "chat.test"),
        ("http://CHAT.test", "chat.TEST"),
        ("https://chat.test/", "chat.test"),
        ("https://chat.test.", "chat.test"),
        ("https://chat.test", "chat.test.:443"),
        ("https://chat.test:8443", "chat.test:8443"),
        ("http://chat.test:8443", "chat.test:8443"),
        ("http://chat_2.internal:3000", "chat_2.internal:3000"),
        ("https://bücher.test", "xn--bcher-kva.test"),
        ("https://xn--bcher-kva.test", "BÜCHER.test:443"),
        ("https://xn--BCHER-KVA.test", "bücher.test"),
        ("http://127.0.0.1:3000", "127.0.0.1:3000"),
        ("http://[::1]:3000", "[::1]:3000"),
        ("http://[0:0:0:0:0:0:0:1]", "[::1]:80"),
        ("https://[2001:DB8::A]/", "[2001:db8:0::a]:443"),
        # Starscream (iOS), with and without a port in its address
        ("wss://chat.test", "chat.test:443"),
        ("ws://chat.test", "chat.test:80"),
        ("ws://localhost:3000", "localhost:3000"),
        ("wss://chat.test:443", "chat.test:443"),
        # React Native, older ones on Android and all on iOS; without a port as above
        ("https://chat.test:443/", "chat.test:443"),
        ("http://10.0.2.2:3000/", "10.0.2.2:3000"),
        # websocket-client (Python), with names as above
        ("https://[::1]:8443", "[::1]:8443"),
    ],
)
def test_a_client_that_names_the_address_it_connects_to_may_connect(origin: str, host: str) -> None:
    Origins(()).check(origin, host)


@pytest.mark.parametrize(
    ("listed", "origin"),
    [
        ("https://app.example", "https://app.example"),
        ("https://app.example/", "https://APP.example"),
        ("https://App.Example:443", "https://app.example"),
        ("https://app.example", "https://app.example:443/"),
        ("wss://app.example", "https://app.example"),
        ("https://app.example", "wss://app.example"),
        ("http://localhost:5173", "http://localhost:5173"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
        ("https://xn--bcher-kva.example", "https://Bücher.example"),
        ("https://faß.example", "https://xn--fa-hia.example"),
        ("https://app。example", "https://app.example"),
        ("https://app.example.", "https://app.example"),
        ("http://[0:0::1]:3000", "http://[::1]:3000"),
        ("capacitor://localhost", "capacitor://localhost"),
        (
            "chrome-extension://kbpjlgkmnlijnmplbmgkhmgmjkkcgoap",
            "chrome-extension://kbpjlgkmnlijnmplbmgkhmgmjkkcgoap",
        ),
        ("file://", "file://"),
        ("null", "null"),
    ],
)
def test_a_listed_origin_may_connect_in_every_spelling(listed: str, origin: str) -> None:
    Origins(("https://other.example", listed)).check(origin, HOST)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://evil.example", HOST),
        ("http://app.example", HOST),
        ("https://app.example:8443", HOST),
        ("https://app.example:80", HOST),
        ("https://sub.app.example", HOST),
        ("null", HOST),
        ("null", "null"),
        ("file://", ""),
        ("https://", ""),
        ("chat.test", HOST),
        ("//chat.test", HOST),
        ("capacitor://chat.test", HOST),
        ("http://localhost:3001", "localhost:3000"),
        ("http://chat.test", "chat.test:443"),
        ("https://chat.test", "chat.test:80"),
        ("https://chat.test:80", HOST),
        ("https://chat.test:8443", HOST),
        ("https://chat.test", "chat.test:8443"),
        ("https://chat.test", ""),
        ("http://127.0.0.1", "127.0.0.11"),
        ("http://[::1]", "[::2]"),
        ("https://app.example https://app.example", HOST),
        ("https://app.example, https://evil.example", HOST),
    ],
)
def test_any_other_origin_is_forbidden(origin: str, host: str) -> None:
    with pytest.raises(ForbiddenOrigin) as forbidden:
        Origins(LISTED).check(origin, host)
    assert forbidden.value.code is ErrorCode.FORBIDDEN_ORIGIN


@pytest.mark.parametrize("name", ["app.example", "chat.test"])
@pytest.mark.parametrize(
    "trick",
    [
        "https://{}.evil.test",
        "https://evil-{}",
        "https://evil.test/{}",
        "https://evil.test/https://{}",
        "https://evil.test#{}",
        "https://evil.test?{}",
        "https://evil.test\\{}",
        "https://evil.test\\@{}",
        "https://{}\\.evil.test",
        "https://{}\\@evil.test",
        "https://{}@evil.test",
        "https://{}:443@evil.test",
        "https://{}:pass@evil.test",
        "https://user@{}",
        "https://evil.test@{}",
        "https://{}%2eevil.test",
        "https://{}%2f.evil.test",
        "https://{}%00.evil.test",
        "https://%61pp.example",
        "https://{}\0.evil.test",
        "https://{}\0",
        "https://{}\n",
        "https://{}\r\nX: y",
        "https://{}\t.evil.test",
        "https:// {}",
        "https://{} .evil.test",
        "https://{}..",
        "https://.{}",
        "https://{}/.",
        "https://{}//",
        "https://{}/?",
        "https://{}:443:443",
        "https://{}:",
        "https://{}:0",
        "https://{}:65979",
        "https://{}:4430000",
        "https://{}:+443",
        "https://{}:４４３",
        "https://[{}]",
        "https://[::ffff:{}]",
        "https:{}",
        "https:/{}",
        "https:///{}",
        "https:\\\\{}",
        "httpſ://{}",
        "https\u200b://{}",
        "https://{}\u2044.evil.test",
        "https://{}／.evil.test",
        "https://evil.test／{}",
        "https://{}＠evil.test",
        "https://{}℀.evil.test",
        "https://{}\ufffd",
        "https://\u202e{}",
        "https://*",
        "*",
        "javascript://{}",
        "https://{}" + "." * 600,
        "https://" + "a" * 100_000 + ".{}",
        "https://" + "ü" * 100_000 + ".{}",
    ],
)
def test_no_spelling_makes_a_foreign_origin_look_like_an_allowed_one(trick: str, name: str) -> None:
    origin = trick.format(name)
    allowed = Origins(("https://app.example",)).allow(origin, HOST)
    # An empty port is the default port: URLs may be written so.
    assert allowed is (trick == "https://{}:")


@pytest.mark.parametrize(
    "host", ["evil@chat.test", "chat.test/x", "chat.test#", "chat.test chat.test", "chat.test,x"]
)
def test_a_host_that_is_none_matches_nothing(host: str) -> None:
    assert not Origins(()).allow("https://chat.test", host)
