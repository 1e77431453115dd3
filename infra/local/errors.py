"""What goes wrong with a local stack, said to the person who started it."""


class StackError(Exception):
    """The local stack cannot do what was asked. The message is one line: what happened, and what to do."""
