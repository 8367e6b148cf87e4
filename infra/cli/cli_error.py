"""The failure of a command."""


class CliError(Exception):
    """The command cannot be carried out.

    The message is one line with the cause and the next step.
    """


class UnknownUser(CliError):
    """The hub has no user of this handle."""
