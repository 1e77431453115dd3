"""Errors of the local stack, for the person who started it."""


class StackError(Exception):
    """The local stack failed. The message is one line: what happened, and what to do about it."""
