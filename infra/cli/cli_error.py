"""The failure of a command."""


class Problem(Exception):
    """The command cannot be carried out.

    The message is one line with the cause and the next step.
    """
