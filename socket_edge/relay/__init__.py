"""To the workers and back: pending requests, the lanes they leave in, and the stream of results."""
