"""Delivers results to sockets, each message once per socket, live or by catch-up. Clients confirm by ack."""
