"""What workers do for each command. A handler answers all requests for its command in a batch at once."""
