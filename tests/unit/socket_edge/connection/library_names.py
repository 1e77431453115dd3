"""The undocumented library names that `socket_edge.connection` uses.

By library, then by owner: the names, and what each of them is. Functions and classes are described by
their parameters, exceptions by their base, constants by their value, attributes by their type. An owner
that ends with `()` is an instance. "set by us" is an attribute that we replace, whatever its value.
"""

from typing import Final

ENGINEIO: Final = {
    "engineio.base_server": {
        "BaseServer": (
            "(async_mode=None, ping_interval=25, ping_timeout=20, max_http_buffer_size=1000000, "
            "allow_upgrades=True, http_compression=True, compression_threshold=1024, cookie=None, "
            "cors_allowed_origins=None, cors_credentials=True, logger=False, json=None, "
            "async_handlers=True, monitor_clients=None, transports=None, **kwargs)"
        ),
    },
    "engineio.base_server.BaseServer": {
        "_cors_headers": "(self, environ)",
    },
    "engineio.async_server.AsyncServer": {
        "handle_request": "async (self, *args, **kwargs)",
        "generate_id": "(self)",
    },
    "engineio.async_server.AsyncServer()": {
        "sockets": "dict",
    },
    "engineio.packet": {
        "OPEN": "0",
        "CLOSE": "1",
        "PING": "2",
        "PONG": "3",
        "MESSAGE": "4",
        "NOOP": "6",
    },
}
SOCKETIO: Final = {
    "socketio.async_server": {
        "AsyncServer": (
            "(client_manager=None, logger=False, json=None, async_handlers=True, namespaces=None, **kwargs)"
        ),
    },
    "socketio.base_server": {
        "BaseServer": (
            "(client_manager=None, logger=False, serializer='default', json=None, "
            "async_handlers=True, always_connect=False, namespaces=None, **kwargs)"
        ),
    },
    "socketio.async_server.AsyncServer": {
        "_engineio_server_class": "(self)",
        "_handle_connect": "async (self, eio_sid, namespace, data)",
        "_send_packet": "async (self, eio_sid, pkt)",
        "on": "(self, event, handler=None, namespace=None)",
    },
    "socketio.async_server.AsyncServer()": {
        "eio": "AsyncServer",
        "environ": "dict",
        "manager": "AsyncManager",
        "handlers": "dict",
        "packet_class": (
            "(packet_type=2, data=None, namespace=None, id=None, binary=None, encoded_packet=None)"
        ),
    },
    "socketio.async_manager": {
        "AsyncManager": "()",
    },
    "socketio.async_manager.AsyncManager()": {
        "server": "NoneType",
    },
    "socketio.async_manager.AsyncManager": {
        "pre_connect": "async (self, eio_sid, namespace)",
        "connect": "async (self, sid, namespace)",
        "disconnect": "async (self, sid, namespace, **kwargs)",
        "set_server": "(self, server)",
    },
    "socketio.exceptions": {
        "ConnectionRefusedError": "exception (ConnectionError)",
    },
    "socketio.exceptions.ConnectionRefusedError": {
        "__init__": "(self, *args)",
    },
    "socketio.packet": {
        "CONNECT": "0",
        "DISCONNECT": "1",
        "EVENT": "2",
        "ACK": "3",
        "CONNECT_ERROR": "4",
        "BINARY_EVENT": "5",
        "BINARY_ACK": "6",
        "Packet": "(packet_type=2, data=None, namespace=None, id=None, binary=None, encoded_packet=None)",
    },
    "socketio.packet.Packet": {
        "encode": "(self)",
        "uses_binary_events": "set by us",
        "json": "set by us",
    },
}
UVICORN: Final = {
    "uvicorn.config.Config()": {
        "ws_max_size": "int",
        "loaded_app": "ProxyHeadersMiddleware",
    },
    "uvicorn.protocols.http.httptools_impl": {
        "HttpToolsProtocol": "(config, server_state, app_state, _loop=None)",
    },
    "uvicorn.protocols.http.httptools_impl.HttpToolsProtocol": {
        "connection_made": "(self, transport)",
        "connection_lost": "(self, exc)",
        "data_received": "(self, data)",
        "on_message_begin": "(self)",
        "on_headers_complete": "(self)",
        "on_message_complete": "(self)",
        "handle_websocket_upgrade": "(self)",
        "send_400_response": "(self, msg)",
        "shutdown": "(self)",
    },
    "uvicorn.protocols.http.httptools_impl.HttpToolsProtocol()": {
        "cycle": "NoneType",
        "loop": "event loop",
        "parser": "HttpRequestParser",
        "transport": "NoneType",
    },
    "uvicorn.protocols.utils": {
        "ClientDisconnected": "exception (OSError)",
    },
    "uvicorn.protocols.websockets.websockets_sansio_impl": {
        "WebSocketsSansIOProtocol": "(config, server_state, app_state, _loop=None)",
    },
    "uvicorn.protocols.websockets.websockets_sansio_impl.WebSocketsSansIOProtocol": {
        "connection_made": "(self, transport)",
        "data_received": "(self, data)",
        "handle_connect": "(self, event)",
        "run_asgi": "async (self)",
        "receive": "async (self)",
        "send": "async (self, message)",
        "send_500_response": "(self)",
        "shutdown": "(self)",
    },
    "uvicorn.protocols.websockets.websockets_sansio_impl.WebSocketsSansIOProtocol()": {
        "app": "ProxyHeadersMiddleware",
        "config": "Config",
        "conn": "ServerProtocol",
        "connections": "set",
        "handshake_complete": "bool",
        "handshake_initiated": "bool",
        "logger": "Logger",
        "queue": "Queue",
        "read_paused": "bool",
        "transport": "FakeTransport",
        "request": "Request",
        "response": "Response",
        "scope": "dict",
    },
    "uvicorn.server.Server": {
        "run": "(self, sockets=None)",
    },
    "uvicorn.protocols.http.httptools_impl.RequestResponseCycle()": {
        "response_complete": "bool",
    },
}
PICOWS: Final = {
    "picows.WSAutoPingStrategy": {
        "PING_WHEN_IDLE": "1",
    },
    "picows.WSCloseCode": {
        "OK": "1000",
        "PROTOCOL_ERROR": "1002",
        "UNSUPPORTED_DATA": "1003",
        "INVALID_TEXT": "1007",
        "MESSAGE_TOO_BIG": "1009",
        "SERVICE_RESTART": "1012",
    },
    "picows.WSMsgType": {
        "CONTINUATION": "0",
        "TEXT": "1",
        "BINARY": "2",
        "CLOSE": "8",
        "PING": "9",
        "PONG": "10",
    },
    "picows": {
        "WSProtocolError": "exception (WSError)",
    },
    "picows.WSProtocolError": {
        "__init__": "(self, code, message)",
    },
    "picows.WSFrame": {
        "fin": "property",
        "msg_type": "property",
        "payload_size": "property",
        "rsv1": "property",
        "rsv2": "property",
        "rsv3": "property",
        "get_close_code": "(self)",
        "get_payload_as_bytes": "(self)",
    },
    "picows.WSListener": {
        "on_ws_connected": "(self, transport)",
        "on_ws_disconnected": "(self, transport)",
        "on_ws_frame": "(self, transport, frame)",
        "pause_writing": "(self)",
        "resume_writing": "(self)",
    },
    "picows.WSTransport": {
        "disconnect": "(self, graceful=True)",
        "close_handshake": "property",
        "is_close_frame_sent": "property",
        "send": "(self, msg_type, message, fin=True, rsv1=False, rsv2=False, rsv3=False)",
        "send_close": "(self, close_code=<WSCloseCode.NO_INFO: 0>, close_message=None)",
        "send_pong": "(self, message=None)",
    },
    "picows.picows.WSProtocol": {
        "buffer_updated": "(self, nbytes)",
        "connection_lost": "(self, exc)",
        "connection_made": "(self, transport)",
        "eof_received": "(self)",
        "get_buffer": "(self, size_hint)",
    },
    "picows.picows.WSProtocol()": {
        "transport": "NoneType",
    },
}
WEBSOCKETS: Final = {
    "websockets.http11": {
        "Request": "(path, headers, _exception=None)",
        "Response": "(status_code, reason_phrase, headers, body=b'', _exception=None)",
    },
    "websockets.server": {
        "ServerProtocol": (
            "(*, origins=None, extensions=None, subprotocols=None, select_subprotocol=None, "
            "state=<State.CONNECTING: 0>, max_size=1048576, logger=None)"
        ),
    },
    "websockets.server.ServerProtocol": {
        "accept": "(self, request)",
    },
    "websockets.server.ServerProtocol()": {
        "handshake_exc": "NoneType",
        "logger": "Logger",
    },
    "websockets.http11.Request()": {
        "headers": "Headers",
    },
    "websockets.http11.Response()": {
        "status_code": "int",
    },
}
LIBRARIES: Final = {
    "python-engineio": ENGINEIO,
    "python-socketio": SOCKETIO,
    "uvicorn": UVICORN,
    "picows": PICOWS,
    "websockets": WEBSOCKETS,
}
