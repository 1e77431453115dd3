"""The edge: holds the sockets, authenticates, relays events to the workers and results to the sockets."""
