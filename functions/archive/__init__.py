"""Moves old messages from Postgres to S3, and restores them."""
