"""The command line: what --help says, a page for each verb with its actions."""

from generate import markdown
from slipway.verbs import help
from slipway.verbs.table import VERBS


def pages() -> list[tuple[str, str, str]]:
    """Title, path below reference/ and text of each page, `slipway --help` first."""
    rows = [(f"[slipway {verb}]({verb}.md)", markdown.prose(VERBS[verb].summary, "../../")) for verb in VERBS]
    overview = markdown.page(
        "Command line",
        markdown.table(("verb", "what it does"), rows),
        "## slipway --help",
        markdown.block(help.general()),
    )
    found = [("Overview", "command-line/index.md", overview)]
    for verb, described in VERBS.items():
        parts = [markdown.block(help.of_verb(verb))]
        for action in described.actions:
            parts += [f"## slipway {verb} {action}", markdown.block(help.of_action(verb, action))]
        found.append((verb, f"command-line/{verb}.md", markdown.page(f"slipway {verb}", *parts)))
    return found
