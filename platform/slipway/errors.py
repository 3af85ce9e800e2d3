"""The one error type that is a user's to mend: printed as one line, exit code 2."""


class UserError(ValueError):
    """What is wrong, where, what is allowed. Raised before anything is written."""


EXIT_DONE = 0
EXIT_FAULT = 1
EXIT_USER_ERROR = 2
EXIT_CONTINUE = 75  # stopped well before the end: start the same command again
