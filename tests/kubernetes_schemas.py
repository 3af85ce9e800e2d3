"""Strict checks of manifests: Kubernetes' own schemas, and the CRDs beside the checkout where they are at hand."""

import copy
import functools
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

VERSION = "1.37"
CRDS = Path(__file__).resolve().parents[2] / "shared" / "crds"
CRD_FILES = {
    "JobSet": "jobset.x-k8s.io_jobsets.yaml",
    "TrainJob": "trainer.kubeflow.org_trainjobs.yaml",
    "TrainingRuntime": "trainer.kubeflow.org_clustertrainingruntimes.yaml",  # the same, in a namespace
    "PodGroup": "scheduling.volcano.sh_podgroups.yaml",
}


def check(manifest: dict[str, Any]) -> None:
    """Raise where a manifest has a field that its kind does not know, or a wrong one."""
    if manifest["kind"] not in CRD_FILES:
        kubernetes_validate.validate(manifest, VERSION, strict=True)
        return
    _validator(manifest["kind"]).validate(manifest)
    for job in _jobs(manifest):  # what is inside is checked by the rules of what it will be, too
        kubernetes_validate.validate(job, VERSION, strict=True)


def _jobs(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    spec = manifest["spec"]
    spec = spec["template"]["spec"] if manifest["kind"] == "TrainingRuntime" else spec
    jobs = []
    for replicated in spec.get("replicatedJobs", []):
        job = copy.deepcopy(replicated["template"])
        for container in job["spec"]["template"]["spec"]["containers"]:
            container.setdefault("image", "given-by-the-TrainJob")
        jobs.append({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "a"}, **job})
    return jobs


@functools.cache
def _validator(kind: str) -> Any:
    crd = yaml.load(
        (CRDS / CRD_FILES[kind]).read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    )
    (version,) = crd["spec"]["versions"]
    schema = version["schema"]["openAPIV3Schema"]
    schema["properties"]["metadata"] = {"type": "object"}  # of every kind: checked by check_metadata
    schema["properties"]["apiVersion"] = {"const": f"{crd['spec']['group']}/{version['name']}"}
    _close(schema)
    return jsonschema.Draft202012Validator(schema)


def _close(schema: Any) -> None:
    """Refuse unknown fields, everywhere."""
    if not isinstance(schema, dict):
        return
    if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        schema["additionalProperties"] = False
    for name, part in schema.items():
        for inner in part.values() if name == "properties" else [part]:
            _close(inner)
