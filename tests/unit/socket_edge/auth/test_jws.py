"""Taking tokens apart: as PyJWT does it, and nothing but what the specification allows."""

import base64
import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from infra.wire.errors import ErrorCode
from socket_edge.auth import Authenticator, jws
from socket_edge.auth.jws import Jws, Key
from tests.harness.key_server import Project
from tests.unit.socket_edge.auth.refusals import refusal, refusal_code

SECRET = "a shared secret of the tests, long enough"


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def token(header: object, payload: bytes = b"{}", signature: bytes = b"sig") -> str:
    return ".".join(map(encode, (json.dumps(header).encode(), payload, signature)))


def keys() -> dict[str, tuple[Any, Any]]:
    """Return what signs and what verifies, by algorithm."""
    elliptic, large = ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 2048)
    return {
        "ES256": (elliptic, elliptic.public_key()),
        "RS256": (large, large.public_key()),
        "HS256": (SECRET, SECRET),
    }


@pytest.mark.parametrize("payload", [{}, {"sub": "x" * 300}, {"name": "Зоя 🙂"}, {"deep": [[{"a": None}]]}])
@pytest.mark.parametrize("algorithm", ["ES256", "RS256", "HS256"])
def test_a_token_is_read_as_pyjwt_reads_it(algorithm: str, payload: dict[str, Any]) -> None:
    private, public = keys()[algorithm]
    signed = jwt.encode(payload, private, algorithm, headers={"kid": "first"})
    read = jws.read(signed)
    expected = jwt.decode_complete(signed, public, [algorithm], {"verify_sub": False})
    assert (read.header, read.signature) == (expected["header"], expected["signature"])
    assert jws.read_object(read.payload) == expected["payload"]
    assert Key(algorithm, public).has_signed(read)
    for wrong in (b"", b"x", read.signature[:-1], read.signature + b"x", bytes(len(read.signature))):
        assert not Key(algorithm, public).has_signed(read._replace(signature=wrong))
    assert not Key(algorithm, public).has_signed(read._replace(signed=read.signed + b"x"))
    _, stranger = keys()[algorithm]
    assert not Key(algorithm, f"{SECRET}!" if algorithm == "HS256" else stranger).has_signed(read)


GOOD = token({"alg": "ES256"})
WRONG = {
    "nothing": "",
    "two parts": GOOD.rpartition(".")[0],
    "four parts": GOOD + ".e30",
    "padding": GOOD + "=",
    "a space": GOOD + " ",
    "a line break": GOOD + "\n",
    "another alphabet": GOOD + "+/",
    "letters that are not ASCII": GOOD + "ä",
    "a length that nothing encodes to": GOOD + "A",
    "bits that nothing encodes to": token({"alg": "ES256"}, signature=b"s")[:-1] + "x",
    "a header that is no JSON": f"{encode(b'alg')}.e30.AAAA",
    "a header that is no object": f"{encode(b'[]')}.e30.AAAA",
    "a header that is not UTF-8": f"{encode(json.dumps({'alg': 'ES256'}).encode('utf-16'))}.e30.AAAA",
    "a header that never ends": f"{encode(b'[' * 9000)}.e30.AAAA",
    "a key id that is no text": token({"alg": "ES256", "kid": 7}),
    "an extension that must be understood": token({"alg": "ES256", "crit": ["exp"], "exp": 1}),
    "a payload without Base64": token({"alg": "ES256", "b64": False, "crit": ["b64"]}),
    "a payload without Base64 that is not declared": token({"alg": "ES256", "b64": False}),
}


@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG)
def test_what_is_no_token_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        jws.read(text)


def test_a_key_of_another_kind_is_no_key() -> None:
    for algorithm, (_, public) in keys().items():
        for other in {"ES256", "RS256", "HS256"} - {algorithm}:
            with pytest.raises((jwt.InvalidKeyError, TypeError, ValueError)):
                Key(other, public)
    with pytest.raises(jwt.InvalidKeyError):
        Key("ES256", ec.generate_private_key(ec.SECP384R1()).public_key())


async def test_an_expired_token_is_refused_without_checking_its_signature(
    authenticator: Authenticator, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[Jws] = []
    monkeypatch.setattr(Key, "has_signed", lambda _, read: checked.append(read))
    expired = project.token(exp=int(time.time()) - 1)
    assert await refusal_code(authenticator, expired) is ErrorCode.TOKEN_EXPIRED
    assert (checked, project.server.hits) == ([], 0)


async def test_no_other_claim_is_read_before_the_signature_is_checked(
    authenticator: Authenticator, project: Project
) -> None:
    stranger = ec.generate_private_key(ec.SECP256R1())
    claims = {"exp": int(time.time()) + 60, "aud": "other", "iss": "other", "sub": "nobody", "role": "anon"}
    forged = jwt.encode(claims, stranger, "ES256", headers={"kid": "first"})
    error = await refusal(authenticator, forged)
    assert error.message == "The signature of the access token is not valid."


def test_a_header_is_read_once_for_all_tokens_that_have_it() -> None:
    jws._read_header.cache_clear()
    for number in range(5):
        jws.read(token({"alg": "ES256", "kid": "once"}, b"%d" % number))
    assert (jws._read_header.cache_info().misses, jws._read_header.cache_info().hits) == (1, 4)
    for number in range(500):
        jws.read(token({"alg": "ES256", "kid": f"{number}"}))
    assert jws._read_header.cache_info().currsize <= 64
