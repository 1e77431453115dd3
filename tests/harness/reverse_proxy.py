"""nginx, HAProxy and Caddy in front of two edges, configured as docs/deployment.md shows."""

import getpass
import os
import shutil
import ssl
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from infra.local.tether import tether
from tests.harness.engines import free_port
from tests.harness.waiting import eventually

EXAMPLES: Final = Path(__file__).parents[2] / "infra" / "deploy" / "proxy"
_EDGES: Final = ("10.0.0.1:3000", "10.0.0.2:3000")
"""The edges in the examples."""
_NGINX: Final = """
daemon off;
master_process off;
user {user};
pid {folder}/pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/client;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/chat.conf;
}}
"""
"""What a distribution's nginx.conf has around the example."""
_CADDY: Final = """
{{
    admin off
    auto_https disable_redirects
    storage file_system {folder}/storage
}}
https://127.0.0.1:{port} {{
    bind 127.0.0.1
    tls {folder}/chat.pem {folder}/chat.pem
"""
"""What the example has instead of a name with a certificate of its own."""


@dataclass(frozen=True, slots=True)
class ReverseProxy:
    """A running proxy. Clients reach it over TLS, and trust the certificate in `tls`."""

    port: int
    tls: ssl.SSLContext

    @property
    def url(self) -> str:
        """Return the address for clients."""
        return f"https://127.0.0.1:{self.port}"


@contextmanager
def nginx(edges: Sequence[int], folder: Path) -> Iterator[ReverseProxy]:
    """Run nginx in front of the edges on these ports."""
    folder.mkdir()
    port, tls = free_port(), _certificate(folder)
    example = _fill_in(
        "nginx.conf",
        edges,
        {
            "listen 443": f"listen 127.0.0.1:{port}",
            "/etc/ssl/chat.pem": f"{folder}/chat.pem",
            "/etc/ssl/chat.key": f"{folder}/chat.pem",
        },
    )
    (folder / "chat.conf").write_text(example)
    main = folder / "nginx.conf"
    main.write_text(_NGINX.format(folder=folder, user=getpass.getuser()))
    with _running("nginx", ["-e", "stderr", "-c", str(main)], folder, ReverseProxy(port, tls)) as proxy:
        yield proxy


@contextmanager
def haproxy(edges: Sequence[int], folder: Path) -> Iterator[ReverseProxy]:
    """Run HAProxy in front of the edges on these ports."""
    folder.mkdir()
    port, tls = free_port(), _certificate(folder)
    changes = {"bind :443": f"bind 127.0.0.1:{port}", "/etc/ssl/chat.pem": f"{folder}/chat.pem"}
    main = folder / "haproxy.cfg"
    main.write_text(_fill_in("haproxy.cfg", edges, changes))
    with _running("haproxy", ["-db", "-f", str(main)], folder, ReverseProxy(port, tls)) as proxy:
        yield proxy


@contextmanager
def caddy(edges: Sequence[int], folder: Path) -> Iterator[ReverseProxy]:
    """Run Caddy in front of the edges on these ports."""
    folder.mkdir()
    port, tls = free_port(), _certificate(folder)
    changes = {"chat.example.com {": _CADDY.format(port=port, folder=folder)}
    main = folder / "Caddyfile"
    main.write_text(_fill_in("Caddyfile", edges, changes))
    arguments = ["run", "--adapter", "caddyfile", "--config", str(main)]
    with _running("caddy", arguments, folder, ReverseProxy(port, tls)) as proxy:
        yield proxy


PROXIES: Final = {"nginx": nginx, "haproxy": haproxy, "caddy": caddy}


def _fill_in(example: str, edges: Sequence[int], changes: dict[str, str]) -> str:
    """Return an example with addresses and files that exist here."""
    text = (EXAMPLES / example).read_text()
    for old, port in zip(_EDGES, edges, strict=True):
        changes = {**changes, old: f"127.0.0.1:{port}"}
    for old, new in changes.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


@contextmanager
def _running(name: str, arguments: list[str], folder: Path, proxy: ReverseProxy) -> Iterator[ReverseProxy]:
    program = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    assert program, f"{name} is missing: install it with `apt-get install {name}`, as .ci/run does"
    with (folder / "log").open("wb") as log:
        env = {**os.environ, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}  # for Caddy
        process = subprocess.Popen(tether([program, *arguments]), stdout=log, stderr=log, env=env)
    try:
        eventually(lambda: process.poll() is not None or _serves(proxy), f"{name} serves")
        assert process.poll() is None, (folder / "log").read_text()
        yield proxy
    finally:
        process.terminate()
        process.wait(10)


def _serves(proxy: ReverseProxy) -> bool:
    """Tell whether clients reach an edge through the proxy: it answers that the request names no protocol."""
    try:
        return httpx.get(f"{proxy.url}/socket.io/", verify=proxy.tls).status_code == 400
    except httpx.TransportError:
        return False


def _certificate(folder: Path) -> ssl.SSLContext:
    """Write a key and its certificate for 127.0.0.1 to one file; return a context that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "chat.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return ssl.create_default_context(cafile=str(path))
