"""Erases what the chat holds of a user, or makes them nobody."""
