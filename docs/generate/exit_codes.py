"""The exit codes, from the module that defines them."""

from generate import markdown
from slipway.errors import EXIT_CODES


def page() -> str:
    """The page."""
    rows = [(markdown.code(str(code)), markdown.prose(text)) for code, text in EXIT_CODES.items()]
    return markdown.page(
        "Exit codes",
        "Every command ends with one of these.",
        markdown.table(("code", "meaning"), rows),
        "What a chain of jobs does next: [the life of a chain](../launch.md#the-life-of-a-chain); what Kubernetes "
        "restarts: [Kubernetes](../kubernetes.md#what-restarts-and-what-is-charged). `slipway doctor` "
        "[uses 1](../doctor.md) for a finding that makes a machine unfit.",
    )
