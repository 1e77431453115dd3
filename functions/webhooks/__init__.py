"""Webhooks: sends the outbox to the app's own backend."""
