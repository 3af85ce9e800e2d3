"""The directories that come with the package."""

from pathlib import Path

from slipway.errors import UserError


def shipped(folder: str, content: str) -> Path:
    """Return a directory by its name, from the wheel or else from the checkout.

    Raises UserError if neither has the content.
    """
    package = Path(__file__).resolve().parent
    for place in (package, package.parent.parent):
        if (place / folder / content).exists():
            return place / folder
    raise UserError(
        f"{folder}/{content}",
        f"found neither in {package} nor in {package.parent.parent}: the installation is incomplete",
        do="install slipway again",
    )
