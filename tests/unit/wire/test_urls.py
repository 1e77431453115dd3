import pytest

from infra.wire.urls import check_url


@pytest.mark.parametrize(
    "url",
    [
        "https://push.example",
        "https://push.example/",
        "https://push.example:443/wpush/v2/gAAA?x=1&y=%20",
        "https://updates.push.services.mozilla.com/wpush/v2/gAAAAABk",
        "https://fcm.googleapis.com/fcm/send/dQw4:APA91b_-x",
        "HTTPS://Push.Example/",
        "https://push.example./",
        "https://xn--bcher-kva.example/",
        "https://1.2.3.4.example/",
        "https://0x7f.example/",
        "https://push_1.example/a@b",
    ],
)
def test_an_https_address_with_a_name_is_accepted(url: str) -> None:
    check_url(url)


@pytest.mark.parametrize(
    "url", ["http://push.example/", "ftp://push.example/", "//push.example/", "push.example"]
)
def test_only_https_is_accepted(url: str) -> None:
    with pytest.raises(ValueError, match=r"^The URL must start with https://\.$"):
        check_url(url)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "8.8.8.8",
        "8.8.8.8.",
        "127.1",
        "2130706433",
        "0x7f.1",
        "0x7F000001",
        "0x",
        "0177.0.0.1",
        "push.0x7f",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[2606:4700::1111]",
        "%31%32%37.0.0.1",
        "",
        ".",
        "a..example",
        "-a.example",
        "a-.example",
        "*.example",
        f"{'a' * 64}.example",
        ".".join(["a" * 60] * 5),
    ],
)
def test_a_host_without_a_name_is_refused(host: str) -> None:
    with pytest.raises(ValueError, match=r"^The URL must use a host name, not an IP address\.$"):
        check_url(f"https://{host}/")


@pytest.mark.parametrize("user", ["user@", "user:word@", "@", "good.example@"])
def test_user_names_and_passwords_are_refused(user: str) -> None:
    with pytest.raises(ValueError, match=r"^The URL must not contain credentials\.$"):
        check_url(f"https://{user}push.example/")


@pytest.mark.parametrize("port", ["80", "8443", "0", "444"])
def test_another_port_is_refused(port: str) -> None:
    with pytest.raises(ValueError, match=r"^The URL must use port 443\.$"):
        check_url(f"https://push.example:{port}/")


def test_another_port_is_accepted_where_any_is() -> None:
    check_url("https://push.example:8443/", any_port=True)


@pytest.mark.parametrize("rest", ["push.example:99999", "push.example:x", "[::1"])
def test_an_unreadable_address_is_refused(rest: str) -> None:
    with pytest.raises(ValueError, match=r"^This is not a URL\.$"):
        check_url(f"https://{rest}/")


@pytest.mark.parametrize(
    "url",
    [
        "",
        " https://push.example/",
        "https://push.example/\n",
        "https://pu\tsh.example/",
        "https://push.example\\@evil.example/",
        "https://bücher.example/",
        "https://\uff11\uff12\uff17.0.0.1/",
        "https://push.example/\x00",
        "https://push.example/\x7f",
    ],
)
def test_an_address_on_which_parsers_disagree_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="printable ASCII"):
        check_url(url)


@pytest.mark.parametrize(
    "url", ["http://secret.example/", "https://secret@x/", "https://secret:port/", "secret"]
)
def test_a_refusal_does_not_repeat_the_address(url: str) -> None:
    with pytest.raises(ValueError) as caught:
        check_url(url)
    assert "secret" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
