"""The app's own backend signs users out everywhere."""

import uuid
from datetime import datetime

from infra.presence import SIGNED_OUT_S
from infra.wire import names
from infra.wire.server_api import NOBODY
from tests.harness.worker_bench import WorkerBench


def test_the_edges_of_the_user_hear_of_it_and_redis_remembers_it_for_a_while(bench: WorkerBench) -> None:
    (alice, _), (bob, _) = bench.people("alice", "bob")
    for user in (alice, bob):
        bench.connect(user)
    event = bench.event(uuid.UUID(NOBODY), "disconnect_user", {"userId": str(alice)})
    reply = bench.ask(event)
    (emit,) = reply.emits
    assert [target.user_id for target in emit.to] == [str(alice)]
    key = names.signed_out_key(str(alice))
    assert emit.signed_out_ms == int(bench.redis.get(key) or 0)
    signed_out_at = datetime.fromisoformat(reply.ack(event)["signedOutAt"])
    assert signed_out_at.timestamp() * 1000 == emit.signed_out_ms
    assert 604_800 < SIGNED_OUT_S - 60 < int(bench.redis.ttl(key)) <= SIGNED_OUT_S
    assert not bench.redis.exists(names.signed_out_key(str(bob)))
