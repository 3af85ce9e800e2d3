"""The manifests of runs, as kubectl is given them."""

import json
from collections.abc import Sequence
from typing import Any, Literal

from slipway.config.schema import RunConfig
from slipway.launch.kubernetes import gang, names, pod, sizes
from slipway.launch.kubernetes.checks import check
from slipway.launch.kubernetes.kinds import Workload, job, jobset, trainjob
from slipway.launch.placement import Placement
from slipway.launch.templates import TRAIN
from slipway.plan import Plan, plan_file

Kind = Literal["job", "jobset", "trainjob"]
WORKLOADS = ("Job", "JobSet", "TrainJob")

Manifest = dict[str, Any]


def manifests(plans: Sequence[Plan], placement: Placement, verb: Sequence[str] = TRAIN) -> list[Manifest]:
    """Return one workload for each plan, with the objects that it needs.

    Several plans are a sweep, under one label and with one plan.json. All plans are for one cluster. verb: what pods
    run with the plan. Raises UserError for what Kubernetes would not accept.
    """
    first = plans[0].config
    run_names = [plan.config.run.name for plan in plans]
    own = [names.resource_name(plan.config.run.name, plan.config.resources.nodes) for plan in plans]
    sweep = names.sweep_name(run_names) if len(plans) > 1 else None
    plan_json = plan_file.to_text(plans[0])
    plan_map = names.of_content(sweep or own[0], plan_json)
    map_labels = {names.LABEL_SWEEP: sweep} if sweep else {names.LABEL_RUN: own[0]}
    found = [_config_map(plan_json, _metadata(first, plan_map, map_labels))]
    for plan, name, changed in zip(plans, own, plan_file.changes_of_sweep(plans), strict=True):
        config = plan.config
        check(config, placement.image)
        labels = {names.LABEL_RUN: name} | ({names.LABEL_SWEEP: sweep} if sweep else {})
        changes = [*changed, *_time_limit(config, placement)]
        found += _of_run(config, placement, name, labels, plan_map, pod.plan_args(verb, changes))
    sizes.check(first, found)
    return found


def workloads(found: Sequence[Manifest]) -> list[Manifest]:
    """Return the manifests that are runs (Job, JobSet or TrainJob), in the order of the plans."""
    return [manifest for manifest in found if manifest["kind"] in WORKLOADS]


def _of_run(
    config: RunConfig,
    placement: Placement,
    name: str,
    labels: dict[str, str],
    plan_map: str,
    args: Sequence[str],
) -> list[Manifest]:
    kubernetes = config.cluster.kubernetes
    assert kubernetes is not None
    kind: Kind = config.launch.kind or kubernetes.kind
    metadata = _metadata(config, name, labels)
    workload = Workload(
        config=config,
        image=placement.image,
        minutes=placement.minutes,
        name=name,
        labels=metadata["labels"],
        metadata=metadata | {"labels": metadata["labels"] | gang.queue_labels(config)},
        args=list(args),
        plan_map=plan_map,
    )
    group = gang.pod_group(config, metadata)
    makers = {"job": job, "jobset": jobset, "trainjob": trainjob}
    return [*([group] if group else []), *makers[kind](workload)]


def _metadata(config: RunConfig, name: str, labels: dict[str, str]) -> dict[str, Any]:
    kubernetes = config.cluster.kubernetes
    assert kubernetes is not None
    return {
        "name": name,
        "namespace": kubernetes.namespace,
        "labels": {"app.kubernetes.io/name": "slipway", **labels},
        "annotations": {names.ANNOTATION_RUN: config.run.name},
    }


def _config_map(plan_json: str, metadata: dict[str, Any]) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata,
        "immutable": True,
        "data": {pod.PLAN_FILE: plan_json},
    }


def _time_limit(config: RunConfig, placement: Placement) -> list[str]:
    """Return the change to the plan that makes the trainer stop within the segment's wall time.

    Nothing tells a pod when its Job's time is over. Empty if the run has no wall time, or a shorter limit of its own.
    """
    minutes, own = placement.minutes, config.run.time_limit_minutes
    if minutes is None or (own is not None and own <= minutes):
        return []
    return [f"config.run.time_limit_minutes={json.dumps(minutes)}"]
