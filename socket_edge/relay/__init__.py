"""To the workers and back: requests with a deadline, batches of them, and the stream of results."""
