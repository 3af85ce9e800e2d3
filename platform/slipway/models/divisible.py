"""The rule that one number of a configuration is a multiple of another, reported with its arithmetic."""

from slipway.errors import UserError


def check_divisible(path: str, meaning: str, value: int, by: str, divisor: int) -> None:
    """Raise UserError unless value is a multiple of divisor.

    path: the field that the error names. meaning: what the value is, in words. by: what the divisor is, a field's path.
    """
    if value % divisor:
        raise UserError(
            path,
            f"{meaning} {value} is not divisible by {by} {divisor} ({value} = {value // divisor} x {divisor} + "
            f"{value % divisor})",
            do="change one of the two",
        )
