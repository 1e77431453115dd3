"""From results to sockets, each message once per socket: live, on catch-up, and confirmed by client acks."""
