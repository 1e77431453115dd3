"""What a command tells its user instead of a traceback."""


class CommandError(Exception):
    """A command failed. The message is one line: what happened, and what to do about it."""
