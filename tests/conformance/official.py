"""The cases of the official protocol test suites, by name.

They are those of `test-suite/test-suite.js` in socketio/engine.io-protocol at f21de7b0 and in
socketio/socket.io-protocol at 4f633dd6.
"""

ENGINE_IO = """\
handshake / HTTP long-polling / successfully opens a session
handshake / HTTP long-polling / fails with an invalid 'EIO' query parameter
handshake / HTTP long-polling / fails with an invalid 'transport' query parameter
handshake / HTTP long-polling / fails with an invalid request method
handshake / WebSocket / successfully opens a session
handshake / WebSocket / fails with an invalid 'EIO' query parameter
handshake / WebSocket / fails with an invalid 'transport' query parameter
message / HTTP long-polling / sends and receives a payload containing one plain text packet
message / HTTP long-polling / sends and receives a payload containing several plain text packets
message / HTTP long-polling / sends and receives a payload containing plain text and binary packets
message / HTTP long-polling / closes the session upon invalid packet format
message / HTTP long-polling / closes the session upon duplicate poll requests
message / WebSocket / sends and receives a plain text packet
message / WebSocket / sends and receives a binary packet
message / WebSocket / closes the session upon invalid packet format
heartbeat / HTTP long-polling / sends ping/pong packets
heartbeat / HTTP long-polling / closes the session upon ping timeout
heartbeat / WebSocket / sends ping/pong packets
heartbeat / WebSocket / closes the session upon ping timeout
close / HTTP long-polling / forcefully closes the session
close / WebSocket / forcefully closes the session
upgrade / successfully upgrades from HTTP long-polling to WebSocket
upgrade / ignores HTTP requests with same sid after upgrade
upgrade / ignores WebSocket connection with same sid after upgrade
"""

SOCKET_IO = """\
handshake / HTTP long-polling / should successfully open a session
handshake / HTTP long-polling / should fail with an invalid 'EIO' query parameter
handshake / HTTP long-polling / should fail with an invalid 'transport' query parameter
handshake / HTTP long-polling / should fail with an invalid request method
handshake / WebSocket / should successfully open a session
handshake / WebSocket / should fail with an invalid 'EIO' query parameter
handshake / WebSocket / should fail with an invalid 'transport' query parameter
heartbeat / HTTP long-polling / should send ping/pong packets
heartbeat / HTTP long-polling / should close the session upon ping timeout
heartbeat / WebSocket / should send ping/pong packets
heartbeat / WebSocket / should close the session upon ping timeout
close / HTTP long-polling / should forcefully close the session
close / WebSocket / should forcefully close the session
upgrade / should successfully upgrade from HTTP long-polling to WebSocket
upgrade / should ignore HTTP requests with same sid after upgrade
upgrade / should ignore WebSocket connection with same sid after upgrade
connect / should allow connection to the main namespace
connect / should allow connection to the main namespace with a payload
connect / should allow connection to a custom namespace
connect / should allow connection to a custom namespace with a payload
connect / should disallow connection to an unknown namespace
connect / should disallow connection with an invalid handshake
connect / should close the connection if no handshake is received
disconnect / should disconnect from the main namespace
disconnect / should connect then disconnect from a custom namespace
message / should send a plain-text packet
message / should send a packet with binary attachments
message / should send a plain-text packet with an ack
message / should send a packet with binary attachments and an ack
message / should close the connection upon invalid format (unknown packet type)
message / should close the connection upon invalid format (invalid payload format)
message / should close the connection upon invalid format (invalid ack id)
"""

CASES = frozenset(ENGINE_IO.splitlines() + SOCKET_IO.splitlines())

_ONE_NAMESPACE = "There is one namespace; test_namespaces.py shows what becomes of others."
NOT_APPLICABLE = {
    "connect / should allow connection to a custom namespace": _ONE_NAMESPACE,
    "connect / should allow connection to a custom namespace with a payload": _ONE_NAMESPACE,
    "disconnect / should connect then disconnect from a custom namespace": _ONE_NAMESPACE,
}
"""Cases that the chat cannot pass, and why."""

ADAPTED = {
    "every case": "Clients sign in with a token. Nothing is echoed: an event is answered by its ack.",
    "heartbeats": "The server pings every second and waits a second, so that a busy machine keeps up.",
    "binary packets": "The chat refuses binary events: they are answered, but not with binary packets.",
    "connect / should allow connection to the main namespace": "Without a token it is refused.",
}
"""What differs from the official cases."""
