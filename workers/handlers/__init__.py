"""One module per command. A handler takes all requests of its kind in a batch and answers each."""
