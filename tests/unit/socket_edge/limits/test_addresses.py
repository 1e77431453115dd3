import pytest

from socket_edge.limits.addresses import Addresses
from socket_edge.limits.token_bucket import TokenBucket


def make(*, burst: int = 0, sockets: int = 0) -> Addresses:
    return Addresses(TokenBucket(1 if burst else 0, burst), sockets, clock=lambda: 0.0)


def test_new_connections_of_an_address_are_limited() -> None:
    addresses = make(burst=2)
    assert [addresses.admit("192.0.2.1") for _ in range(3)] == [0, 0, 1]
    assert addresses.admit("192.0.2.2") == 0


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("unknown", "x" * 10_000, True),
        ("unknown", "192.0.2.1", False),
    ],
)
def test_addresses_of_one_network_count_as_one(one: str, other: str, same: bool) -> None:
    addresses = make(burst=1)
    addresses.admit(one)
    assert (addresses.admit(other) > 0) is same


def test_sockets_of_an_address_are_limited_until_one_leaves() -> None:
    addresses = make(sockets=2)
    first, _ = addresses.enter("192.0.2.1"), addresses.enter("192.0.2.1")
    assert addresses.admit("192.0.2.1") > 0
    assert addresses.admit("192.0.2.2") == 0
    addresses.leave(first)
    assert addresses.admit("192.0.2.1") == 0


def test_without_limits_nothing_is_refused() -> None:
    addresses = make()
    for _ in range(1_000):
        addresses.leave(addresses.enter("192.0.2.1"))
        addresses.enter("192.0.2.1")
    assert addresses.admit("192.0.2.1") == 0
