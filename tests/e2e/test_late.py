"""Work that reaches a worker after its deadline."""

from tests.conftest import ClientFactory, DeploymentFactory, Name


async def test_a_send_that_timed_out_is_not_stored_when_workers_come_back(
    deploy: DeploymentFactory, client: ClientFactory, name: Name
) -> None:
    chat = deploy(deadline_s=60, redispatch_s=0.5).start(beat=False)
    alice = await client(name("alice")).connect(chat.edges[0])
    hurried = await client(alice.username).connect(chat.start_edge(deadline_s=2), wait_for_workers=False)
    chat.workers[0].stop()
    assert (await hurried.send(alice.username, "too late"))["code"] == "timeout"
    chat.start_worker()
    ack = await alice.send(alice.username, "in time")
    assert ack["success"], ack
    await alice.expect("new_message", lambda message: message["text"] == "in time")
    assert [message["text"] for message in alice.of("new_message")] == ["in time"]
    assert [row.text for row in chat.rows("SELECT text FROM messages")] == ["in time"]
