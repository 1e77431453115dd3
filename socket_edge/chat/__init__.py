"""What the edge does for a client: admits it, relays its events, answers it, and watches over its session."""
