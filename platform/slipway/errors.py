"""Errors that are printed as one line, and the exit codes."""


class UserError(ValueError):
    """A user's to mend: what is wrong, where, what is allowed. Raised before anything is written. Exit code 2."""


class Fault(RuntimeError):
    """What ended a run that had begun, in words that need no traceback. Exit code 1."""


class Stopped(BaseException):
    """A signal, by its name, asked a training to end before it had begun. Exit code 75; not to be caught by the way."""

    def __str__(self) -> str:
        return f"stopped by {self.args[0]} before the first step; the same command continues"


def in_one_line(error: BaseException | str) -> str:
    """What an error says, in one line without a secret, and without anything that a terminal would obey."""
    from slipway.secrets import redacted

    words = redacted(" ".join(str(error).split()))
    return "".join(repr(char)[1:-1] if ord(char) < 32 or 127 <= ord(char) < 160 else char for char in words)


EXIT_DONE = 0
EXIT_FAULT = 1
EXIT_USER_ERROR = 2
EXIT_CONTINUE = 75  # stopped well before the end: start the same command again
