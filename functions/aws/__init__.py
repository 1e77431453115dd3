"""The functions on AWS Lambda: handlers, logs, secrets and the queue of notifications."""
