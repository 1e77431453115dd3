"""A local stack that was started before starts quickly, with everything as it was."""

import signal
import time

import httpx
import jwt
import pytest

from tests.harness.stack import bbgram
from tests.integration.local.conftest import StartStack, check_that_it_stops

pytestmark = pytest.mark.alone


def test_a_stack_stops_and_a_second_start_keeps_ports_tokens_and_is_quick(start_stack: StartStack) -> None:
    stack = start_stack()
    token = bbgram("token", "alice", env=stack.env).stdout.strip()
    addresses = stack.addresses
    check_that_it_stops(stack, signal.SIGTERM)
    began = time.monotonic()
    again = start_stack()
    assert time.monotonic() - began < 15
    assert again.addresses == addresses
    jwks = httpx.get(f"{addresses['BBGRAM_SUPABASE_URL']}/auth/v1/.well-known/jwks.json").json()
    assert jwt.get_unverified_header(token)["kid"] in {key["kid"] for key in jwks["keys"]}
