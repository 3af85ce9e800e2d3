"""Names that Kubernetes accepts, made from names that users choose."""

import hashlib
import re
from collections.abc import Sequence

REPLICATED_JOB = "node"  # of a JobSet and of Kubeflow's runtimes
LABEL_RUN = "slipway/run"
LABEL_SWEEP = "slipway/sweep"
ANNOTATION_RUN = "slipway/run-name"

# A pod is called NAME-node-0-INDEX and, as an object, has five more random characters: 63 in all (a DNS label).
_LONGEST = 63 - len(f"-{REPLICATED_JOB}-0-") - len("-12345")
_HASH = 6
_CONTENT_HASH = 10

LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
"""RFC 1123, at most 63 characters."""
SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
"""RFC 1123, at most 253 characters."""


def resource_name(run_name: str, nodes: int) -> str:
    """Return a name for the resources of a run: valid by RFC 1035, and short enough for the host names of its pods.

    A name that had to be changed ends with a hash of the run's name, so that two runs never share a resource.
    """
    longest = _LONGEST - len(str(nodes - 1))
    name = re.sub(r"[^a-z0-9]+", "-", run_name.lower()).strip("-") or "run"
    if not name[0].isalpha():
        name = f"run-{name}"
    if name == run_name and len(name) <= longest:
        return name
    digest = hashlib.sha256(run_name.encode()).hexdigest()[:_HASH]
    return f"{name[: longest - _HASH - 1].rstrip('-')}-{digest}"


def sweep_name(run_names: Sequence[str]) -> str:
    """Return a label for the jobs of a sweep, the same whenever the same runs are launched together."""
    digest = hashlib.sha256("\n".join(run_names).encode()).hexdigest()[:_HASH]
    end = f"-and-{len(run_names) - 1}-{digest}"
    return resource_name(run_names[0], 1)[: 63 - len(end)].rstrip("-") + end


def of_content(name: str, text: str) -> str:
    """Return a name for an object that cannot be changed.

    It ends with a hash of the content, so that other content gets another name.
    """
    return f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:_CONTENT_HASH]}"


def is_label_key(text: str) -> bool:
    """Return whether the text is a valid key of a label, an annotation or an extended resource: [SUBDOMAIN/]NAME."""
    prefix, slash, name = text.rpartition("/")
    if slash and (len(prefix) > 253 or not SUBDOMAIN.fullmatch(prefix)):
        return False
    return len(name) <= 63 and re.fullmatch(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?", name) is not None


def is_label_value(text: str) -> bool:
    """Return whether the text is a valid value of a label."""
    return len(text) <= 63 and re.fullmatch(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?", text) is not None
