"""Shell completion: verbs first, then the verb's options, then Hydra's groups and keys."""

import os
from collections.abc import Sequence

from slipway import usage
from slipway.config.compose import conf_dir
from slipway.errors import EXIT_DONE

OPTIONS = {
    "plan": ("--json", "--ranks"),
    "kernels": ("--json",),
    "train": ("--plan", "--dry-run"),
    "launch": ("--submit", "--chain", "--preflight"),
    "checkpoint": ("--step", "--json"),
    "doctor": ("--plan", "--collectives", "--json", "--bad-nodes", "--timeout", "--root"),
}
ACTIONS = {"checkpoint": ("list", "verify", "show")}
RUNS_ACTIONS = ("show", "logs", "cancel", "sync")
RUNS_OPTIONS = ("--dir", "--json", "--dry-run", "--follow", "--lines", "--rank", "--no-wait")
IMAGE_ACTIONS = ("build", "sif", "test", "sbom", "sign", "verify", "inspect")
IMAGE_OPTIONS = ("--dry-run", "--engine", "--context", "--dir", "--variant")
CLUSTERS_OPTIONS = ("--config-dir", "--json")
HYDRA_OPTIONS = ("--cfg", "--resolve", "--package", "--info", "--multirun", "--config-dir", "--help")


def complete(words: Sequence[str]) -> int:
    """Answer `slipway -sc install|uninstall|query=SHELL`; the line to complete is in COMP_LINE."""
    from slipway.config.hydra_app import run

    query = next((word for word in words if word.startswith("query=")), None)
    if query is not None:
        line = os.environ.get("COMP_LINE", "")
        choices = own_choices(line)
        if choices is not None:
            print(("\n" if query == "query=fish" else " ").join(choices))
            return EXIT_DONE
        os.environ["COMP_LINE"] = without_verb(line)
    return run(words, lambda config: EXIT_DONE)


def own_choices(line: str) -> list[str] | None:
    """Completions of verbs and options for a command line; None where Hydra knows better."""
    words = line.split()
    word = "" if line.endswith(" ") or not words else words[-1]
    before = words[1:] if not word else words[1:-1]
    if not before:
        return [verb for verb in usage.VERBS if verb.startswith(word)]
    if before[0] == "bench":
        return []
    if before[0] == "image":
        choices = IMAGE_ACTIONS if len(before) == 1 else IMAGE_OPTIONS
        return [choice for choice in choices if choice.startswith(word)]
    if before[0] == "runs":  # takes no configuration; what is shown has a name of its own
        choices = (*RUNS_ACTIONS, *RUNS_OPTIONS) if len(before) == 1 else RUNS_OPTIONS
        return [choice for choice in choices if choice.startswith(word)]
    if before[0] == "clusters":
        choices = (*usage.groups_of(conf_dir())["cluster"], *CLUSTERS_OPTIONS)
        return [choice for choice in choices if choice.startswith(word)]
    actions = ACTIONS.get(before[0], ())
    if actions and len(before) == 1 and not word.startswith("-"):
        return [action for action in actions if action.startswith(word)]
    if word.startswith("-"):
        options = (*OPTIONS.get(before[0], ()), *HYDRA_OPTIONS)
        return [option for option in options if option.startswith(word)]
    return None


def without_verb(line: str) -> str:
    """The line as Hydra's completion understands it: no verb, none of the verb's own options."""
    program, *words = line.split()
    words, actions = words[1:], ACTIONS.get(next(iter(words), ""), ())
    kept = [word for word in words if not word.startswith("-") and word not in actions]
    tail = " " if line.endswith(" ") else ""
    return " ".join([program, *kept]) + (tail or ("" if kept else " "))
