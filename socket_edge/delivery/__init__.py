"""From results to sockets, each message once: live, caught up with, and confirmed by the client."""
