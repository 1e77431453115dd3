"""Origins, as browsers compare them: scheme, host and port (RFC 6454)."""

import ipaddress
import re
from typing import Final

_MAX_CHARS: Final = 512
"""More than the longest host name needs. Whoever sends more would only make us work."""
_HTTP: Final = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
"""What each scheme counts as: clients that are no browsers name the websocket that they open."""
_MAX_PORT: Final = 65_535
_PORTS: Final = {"http": 80, "https": 443}
_ORIGIN: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)/?")
_AUTHORITY: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]*)(?::([0-9]{0,5}))?")
_LABEL: Final = re.compile(r"[a-z0-9_-]{1,63}")


def origin_of(text: str) -> str:
    """Return the one spelling that all spellings of an origin share, like `https://chat.example:8443`.

    `ws` and `wss` count as `http` and `https`; default ports, case, a slash or dot at the end do not count,
    and names are in ASCII (UTS 46). Pages without an origin have `null`. Raises ValueError, which says what
    is wrong after "it".
    """
    if text == "null":
        return text
    match = _ORIGIN.fullmatch(text) if len(text) <= _MAX_CHARS else None
    if match is None:
        raise ValueError(
            "has more than scheme, host and port" if "://" in text else "has no scheme such as https://"
        )
    scheme = _HTTP.get(match[1].lower(), match[1].lower())
    authority = _AUTHORITY.fullmatch(match[2])
    if authority is None:
        raise ValueError("has no valid host and port")
    # Apps that load their page from a file send `file://`.
    host = "" if scheme == "file" and not match[2] else _host(authority[1])
    port = int(authority[2]) if authority[2] else None
    if port is not None and not 0 < port <= _MAX_PORT:
        raise ValueError("has no valid port")
    return f"{scheme}://{host}" if port in {None, _PORTS.get(scheme)} else f"{scheme}://{host}:{port}"


def is_origin_of_host(origin: str, host: str) -> bool:
    """Tell whether an `origin_of` names the host and port of a header `Host`.

    A proxy may hide from us whether clients use TLS, so the origin's own scheme gives the default port.
    """
    scheme = origin.partition("://")[0]
    if scheme not in _PORTS:
        return False
    try:
        return origin_of(f"{scheme}://{host}") == origin
    except ValueError:
        return False


def _host(host: str) -> str:
    """Return an address in its shortest form, or a name in ASCII. Raises ValueError."""
    if host.startswith("["):
        return f"[{_address(ipaddress.IPv6Address, host[1:-1])}]"
    labels = _ascii(host.removesuffix(".")).split(".")
    if "*" in host:
        raise ValueError("has a wildcard, which only a lone * may be")
    if not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("has no valid host name")
    # Browsers take every name that ends in a number for an IPv4 address.
    name = ".".join(labels)
    return _address(ipaddress.IPv4Address, name) if labels[-1].isdigit() else name


def _address(kind: type[ipaddress.IPv4Address | ipaddress.IPv6Address], text: str) -> str:
    try:
        return str(kind(text))
    except ValueError:
        raise ValueError("has no valid address") from None


def _ascii(host: str) -> str:
    """Return a host name in lower case, its labels in ASCII. Raises ValueError."""
    if host.isascii():
        return host.lower()
    import idna

    try:
        labels = idna.uts46_remap(host).split(".")
        return ".".join(label if label.isascii() else idna.alabel(label).decode() for label in labels)
    except (idna.IDNAError, UnicodeError):
        raise ValueError("has a host name that is not valid; write it as browsers send it, xn--...") from None
