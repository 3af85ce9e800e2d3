"""The part of a profile about Kubernetes: the kind of workload, its pods, their volumes."""

from typing import Literal

from pydantic import (
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from slipway.config.notation import (
    Absolute,
    Line,
    Word,
)
from slipway.config.section import Section


class Toleration(Section):
    """A toleration of a taint, as in Kubernetes."""

    key: Word | None = Field(default=None, description="The taint's key; null: any.")
    operator: Literal["Equal", "Exists"] = Field(
        default="Exists", description="Exists: whatever the value; Equal: that value."
    )
    value: Word | None = Field(default=None, description="The taint's value, for operator=Equal.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        default=None, description="Which effect of the taint is tolerated; null: all."
    )

    @model_validator(mode="after")
    def _as_kubernetes_takes_it(self) -> "Toleration":
        if self.operator == "Exists" and self.value is not None:
            raise ValueError("needs operator=Equal for a value, got Exists")
        if self.operator == "Equal" and self.key is None:
            raise ValueError("needs a key for operator=Equal, got none")
        return self


class Volume(Section):
    """A volume that a pod mounts beside its own: one of host_path, config_map and claim."""

    host_path: Absolute | None = Field(
        default=None, description="A path of the node's; the namespace must allow Pod Security `privileged`."
    )
    host_path_type: Literal["Directory", "File", "CharDevice", "Socket"] = Field(
        default="Directory", description="What must be there, else the pod does not start."
    )
    config_map: Word | None = Field(default=None, description="A ConfigMap of the namespace.")
    claim: Word | None = Field(default=None, description="A PersistentVolumeClaim of the namespace.")
    mount_path: Absolute = Field(description="Where the pod sees it.")
    read_only: bool = Field(default=True, description="Pods cannot write to it.")

    @model_validator(mode="after")
    def _one_source(self) -> "Volume":
        named = [name for name in ("host_path", "config_map", "claim") if getattr(self, name) is not None]
        if len(named) != 1:
            raise ValueError(
                f"needs one of host_path, config_map and claim, got {', '.join(named) or 'none of them'}"
            )
        return self


class Kubernetes(Section):
    """The requirements that a Kubernetes cluster has for a pod. One pod takes a node's devices."""

    kind: Literal["job", "jobset", "trainjob"] = Field(
        default="jobset",
        description="Where launch.kind is null. job needs nothing installed but cannot restart the gang.",
    )
    queueing: Literal["kueue", "volcano"] | None = Field(
        default="kueue", description="What admits whole gangs, where launch.queue names a queue."
    )
    namespace: Word = Field(default="default", description="Where everything is created.")
    device_resource: Word | None = Field(default=None, description="nvidia.com/gpu, amd.com/gpu; null: none.")
    resources: dict[Word, Word] = Field(
        default={},
        description="Further resources of a pod with all of a node's devices, as rdma/ib; cpu or memory instead of "
        "what follows from the node.",
    )
    node_share: float = Field(
        default=0.9,
        gt=0.0,
        le=1.0,
        description="Of node.cores and node.memory_gib, what pods ask for; the rest is left to the kubelet, the "
        "system and daemon sets.",
    )
    node_selector: dict[Word, Line] = Field(default={}, description="Labels that a node must have.")
    tolerations: list[Toleration] = []
    annotations: dict[Word, Line] = Field(default={}, description="Of the pods.")
    topology: Word | None = Field(
        default=None, description="Label of the topology level that a gang should share."
    )
    volumes: dict[Word, Volume] = Field(
        default={},
        description="What a fabric or a site needs in the pod, by name: libraries, topology files.",
    )
    host_network: bool = Field(
        default=False,
        description="Pods use the node's network; the namespace must allow Pod Security `privileged`.",
    )
    capabilities: list[Word] = Field(
        default=[],
        description="Added to none. Without effect on a process that is not root, unless the image's files carry them.",
    )
    shm_gib: PositiveFloat = Field(
        default=16,
        description="Memory-backed /dev/shm of a pod with all of a node's devices, GiB; part of the pod's memory.",
    )
    run_as_user: PositiveInt = Field(default=1000, description="User and group of the processes.")
    volume_claim: Word = Field(
        default="slipway", description="PersistentVolumeClaim for runs and data, mounted at mount_path."
    )
    mount_path: Absolute = Field(default="/workspace", description="Current folder of the trainer.")
    storage_class: Word | None = Field(
        default=None,
        description="Of the claim in deploy/kubernetes/volume.yaml; several nodes must be able to write. null: the "
        "cluster's default.",
    )
    wandb_secret: Word | None = Field(
        default=None, description="Secret whose key WANDB_API_KEY holds wandb's key."
    )
    runtime_ref: Word | None = Field(
        default=None,
        description="ClusterTrainingRuntime of a TrainJob, as torch-distributed; null: one of the run's own, with the "
        "rules for exit codes and without a service account token.",
    )
    priority_class: Word | None = Field(
        default=None, description="The pods' PriorityClass; null: the cluster's default."
    )
    service_account: Word | None = Field(
        default=None, description="Of the pods; null: the namespace's default."
    )
    termination_grace_seconds: NonNegativeInt = Field(
        default=300,
        description="Seconds from SIGTERM to the end: longer than a step and a save, else neither is kept.",
    )
