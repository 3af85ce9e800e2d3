"""The submission of several objects to a Kubernetes cluster, which has no transactions: all of them, or none.

What a run needs comes first and the runs last, so that none starts before its own objects exist; if one is refused,
those that were created are removed. The record of the submission is written before a run can exist, so that `slipway
runs` knows each one, however this process ends.
"""

import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway import commands
from slipway.access import hand_to_pods
from slipway.errors import Fault, UserError
from slipway.launch import record
from slipway.launch.kubernetes.names import LABEL_RUN, LABEL_SWEEP
from slipway.launch.kubernetes.render import workloads
from slipway.launch.kubernetes.text import to_text
from slipway.launch.placement import Placement
from slipway.launch.record import Submission
from slipway.launch.schedulers import kubernetes as states
from slipway.launch.submission.recording import submission_of
from slipway.plan import Plan

SECONDS = 120.0
APPLY = ("apply", "--server-side", "--filename=-", "--output=name")
CREATE = ("create", "--filename=-", "--output=name")  # not apply: what already exists is another's run

Manifest = dict[str, Any]


class Refused(Fault):
    """The cluster did not accept an object. made: those created before it, as kubectl names them."""

    made: Sequence[str] = ()


@dataclass(frozen=True)
class Cluster:
    """The cluster of kubectl's current context, the same one in every call."""

    context: str | None

    @classmethod
    def current(cls) -> "Cluster":
        """Return the cluster of the caller's current context; inside a pod it has no context."""
        words = ["kubectl", "config", "current-context"]
        try:
            return cls(commands.call(words, seconds=SECONDS).output.strip() or None)
        except commands.NotRun:
            return cls(None)

    def kubectl(self, *words: str, given: Sequence[Manifest] = ()) -> list[str]:
        """Return the lines that kubectl prints.

        Raises UserError if kubectl is not installed, Refused if it fails, and Fault if it does not answer.
        """
        command = ["kubectl", *([f"--context={self.context}"] if self.context else []), *words]
        try:
            done = commands.call(command, given=to_text(given), seconds=SECONDS)
        except commands.Missing:
            raise UserError(
                "kubectl",
                "is not installed on this machine",
                do="launch where it is, or omit --submit and apply the manifests there",
            ) from None
        except commands.NoAnswer:
            raise Fault(
                shlex.join(command),
                f"no answer within {SECONDS:.0f} s",
                do="check the connection to the cluster",
            ) from None
        lines = done.output.split("\n")[:-1]
        if done.code:
            refused = Refused(
                shlex.join(command), done.why, do="run that command by itself to see all of its output"
            )
            refused.made = lines
            raise refused
        return lines


def submit(
    manifests: Sequence[Manifest],
    cluster: Cluster,
    remember: Callable[[], None],
    forget: Callable[[], None],
) -> list[str]:
    """Create all objects and return their names.

    remember, forget: write the record of the submission, and remove it once nothing of the submission is left. Raises
    Fault if an object is refused: then none stays that was not there before. Raises Fault, too, if kubectl does not
    answer: then the run counts as submitted.
    """
    runs = workloads(manifests)
    needed = [one for one in manifests if one not in runs]
    _check_free(runs, cluster)
    before = cluster.kubectl("get", "--filename=-", "--ignore-not-found", "--output=name", given=needed)
    remember()
    made: list[str] = []
    try:
        made += cluster.kubectl(*APPLY, given=needed)
        made += cluster.kubectl(*CREATE, given=runs)
        return made
    except (Refused, UserError) as error:
        made += error.made if isinstance(error, Refused) else []
        new = [name for name in made if name not in before]
        _take_back(new, runs[0]["metadata"].get("namespace"), cluster, error)
        forget()
        raise error.replaced(problem=f"{error.problem}; nothing of it was left in the cluster") from None
    except Fault as fault:
        raise fault.replaced(
            problem=f"{fault.problem}; the run counts as submitted, because it may exist",
            do="check with `slipway runs show`, or remove it with `slipway runs cancel`",
        ) from None


def identity_of(run: Manifest, manifests: Sequence[Manifest], cluster: Cluster) -> dict[str, Any]:
    """Return what the record of a submission says of one run: its place, and the objects that were created for it."""
    metadata = run["metadata"]
    others = [one for one in manifests if one["kind"] not in states.RESOURCES]
    sweep = metadata["labels"].get(LABEL_SWEEP)
    return {
        "kind": run["kind"],
        "name": metadata["name"],
        "namespace": metadata.get("namespace"),
        "context": cluster.context,
        "others": [_named(one) for one in others if _label(one, LABEL_RUN) == metadata["name"]],
        "sweep": sweep,
        "shared": [_named(one) for one in others if sweep and LABEL_RUN not in one["metadata"]["labels"]],
    }


def _check_free(runs: Sequence[Manifest], cluster: Cluster) -> None:
    """Refuse a name that a resource, or a pod of an earlier one, has: two pods would answer to it. Raises UserError."""
    there = cluster.kubectl("get", "--filename=-", "--ignore-not-found", "--output=name", given=runs)
    if there:
        raise UserError(
            "run.name",
            f"already exists in the cluster, launched from another place ({len(there)} of {len(runs)} runs)",
            value=there[0],
            do=f"choose another run.name, or delete it with kubectl delete {there[0]}",
        )
    first = runs[0]["metadata"]
    asked = Submission(
        scheduler="kubernetes",
        cluster="",
        submitted=0,
        namespace=first.get("namespace"),
        context=cluster.context,
    )
    try:
        left = states.ending_pods(asked, LABEL_RUN, [run["metadata"]["name"] for run in runs])
    except states.SchedulerUnavailable as silent:
        raise Fault("launch --submit", str(silent)) from None
    if left:
        raise UserError(
            "run.name",
            f"{len(left)} pods of an earlier launch have not ended ({', '.join(list(left)[:3])}), and new pods "
            "would get the same names",
            do="wait for them with `slipway runs cancel NAME`",
        )


def _take_back(names: Sequence[str], namespace: str | None, cluster: Cluster, why: Fault | UserError) -> None:
    if not names:
        return
    where = [f"--namespace={namespace}"] if namespace else []
    try:
        cluster.kubectl(*where, "delete", *reversed(names), "--ignore-not-found", "--wait=false")
    except (Fault, UserError) as error:
        raise Fault(
            why.path,
            f"{why.problem}; {', '.join(names)} could not be removed ({error})",
            do="remove them with `slipway runs cancel`",
        ) from None


def _label(manifest: Manifest, label: str) -> str | None:
    return manifest["metadata"]["labels"].get(label)


def _named(manifest: Manifest) -> str:
    """Return KIND[.VERSION.GROUP]/NAME, as kubectl accepts it."""
    group, _, version = manifest["apiVersion"].rpartition("/")
    return f"{manifest['kind']}{f'.{version}.{group}' if group else ''}/{manifest['metadata']['name']}"


def submit_runs(text: str, plans: Sequence[Plan], placement: Placement, folders: Sequence[Path]) -> str:
    """Create the objects of all runs, with a record beside each. Return the names of the objects, one per line.

    Raises UserError if a run exists already or a record cannot be written, and Fault if the cluster refuses or is
    silent.
    """
    import yaml

    every = [one for one in yaml.load_all(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)) if one]
    cluster, command = Cluster.current(), ["kubectl", *CREATE]
    made = []
    for plan, folder, run in zip(plans, folders, workloads(every), strict=True):
        where = identity_of(run, every, cluster) | {"run_dir": str(plan.config.run.dir)}
        made.append((folder, submission_of(plan, placement, command, **where)))

    def remember() -> None:
        for plan, (folder, one) in zip(plans, made, strict=True):
            new = not folder.exists()
            try:
                record.add(folder, one)
                warning = hand_to_pods(folder, plan.config) if new else None
            except OSError as error:
                forget()
                raise UserError(
                    "run.dir",
                    f"cannot be written ({error.strerror})",
                    value=folder,
                    do="choose a run.dir that you can write to",
                ) from None
            if warning:
                print(f"slipway: {warning}", file=sys.stderr)

    def forget() -> None:
        for folder, one in made:
            record.take_back(folder, one)

    return "\n".join(submit(every, cluster, remember, forget))
