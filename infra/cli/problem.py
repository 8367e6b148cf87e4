"""The failure that every command may end in."""


class Problem(Exception):
    """What was asked cannot be done. The message is one line and says what to do."""
