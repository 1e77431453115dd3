"""Which webhook addresses are accepted. The host is resolved and checked again when it is used."""

import re
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from typing import Final
from urllib.parse import urlsplit

HTTPS_PORT: Final = 443

_PRINTABLE = re.compile(r"[!-\[\]-~]+")
"""ASCII without blanks, control characters and the backslash, on which URL parsers disagree."""
_HOST_CHARS = 253
_HOST = re.compile(
    r"([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.?", re.I
)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.I)
_GLOBAL_IPV6: Final = IPv6Network("2000::/3")


def check_url(url: str, *, any_port: bool = False) -> None:
    """Accept only `https://name/...` on port 443. Raises ValueError; its message does not quote the URL.

    A name whose last label is a number is an IPv4 address in some notation, like `0x7f.1` and
    `2130706433` (WHATWG URL, "ends in a number").
    """
    if not _PRINTABLE.fullmatch(url):
        raise ValueError("The URL may contain only printable ASCII characters, and no backslash.")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError("This is not a URL.") from None
    if parts.scheme != "https":
        raise ValueError("The URL must start with https://.")
    if "@" in parts.netloc:
        raise ValueError("The URL must not contain credentials.")
    if len(host) > _HOST_CHARS or not _HOST.fullmatch(host):
        raise ValueError("The URL must use a host name, not an IP address.")
    if _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]):
        raise ValueError("The URL must use a host name, not an IP address.")
    if port not in {None, HTTPS_PORT} and not any_port:
        raise ValueError(f"The URL must use port {HTTPS_PORT}.")


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Tell whether an address is one of the internet, and none of a network of our own."""
    if isinstance(address, IPv6Address) and address not in _GLOBAL_IPV6:
        return False
    return address.is_global and not address.is_multicast
