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

    key: Word | None = Field(default=None, description="Key of the taint; null: any.")
    operator: Literal["Equal", "Exists"] = Field(
        default="Exists",
        description="How the value is compared. Exists accepts any value; Equal accepts only the given one.",
    )
    value: Word | None = Field(default=None, description="Value of the taint, for operator=Equal.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        default=None, description="Effect of the taint that is tolerated; null: all effects."
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
        default=None, description="Path on the node; the namespace must allow Pod Security `privileged`."
    )
    host_path_type: Literal["Directory", "File", "CharDevice", "Socket"] = Field(
        default="Directory", description="Type that the path must have, or the pod does not start."
    )
    config_map: Word | None = Field(default=None, description="Name of a ConfigMap in the namespace.")
    claim: Word | None = Field(default=None, description="Name of a PersistentVolumeClaim in the namespace.")
    mount_path: Absolute = Field(description="Path at which the pod sees the volume.")
    read_only: bool = Field(default=True, description="Keep pods from writing to it.")

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
        description="Kind of workload if launch.kind is null. job needs nothing installed but cannot restart the "
        "gang.",
    )
    queueing: Literal["kueue", "volcano"] | None = Field(
        default="kueue", description="System that admits whole gangs if launch.queue names a queue."
    )
    namespace: Word = Field(default="default", description="Namespace in which everything is created.")
    device_resource: Word | None = Field(
        default=None, description="Resource that requests devices: nvidia.com/gpu or amd.com/gpu; null: none."
    )
    resources: dict[Word, Word] = Field(
        default={},
        description="Further resources of a pod that has all of a node's devices, such as rdma/ib; cpu or memory "
        "replaces what follows from the node.",
    )
    node_share: float = Field(
        default=0.9,
        gt=0.0,
        le=1.0,
        description="Share of node.cores and node.memory_gib that pods request; the rest is left to the kubelet, "
        "the system and daemon sets.",
    )
    node_selector: dict[Word, Line] = Field(default={}, description="Labels that a node must have.")
    tolerations: list[Toleration] = []
    annotations: dict[Word, Line] = Field(default={}, description="Annotations of the pods.")
    topology: Word | None = Field(
        default=None, description="Label of the topology level that a gang should share."
    )
    volumes: dict[Word, Volume] = Field(
        default={},
        description="Volumes that a fabric or a site needs in the pod, by name: libraries, topology files.",
    )
    host_network: bool = Field(
        default=False,
        description="Use the node's network; the namespace must allow Pod Security `privileged`.",
    )
    capabilities: list[Word] = Field(
        default=[],
        description="Capabilities added to an empty set. They have no effect on a process that is not root, "
        "unless the image's files carry them.",
    )
    shm_gib: PositiveFloat = Field(
        default=16,
        description="Memory-backed /dev/shm of a pod with all of a node's devices, GiB; part of the pod's memory.",
    )
    run_as_user: PositiveInt = Field(default=1000, description="Numeric user and group of the processes.")
    volume_claim: Word = Field(
        default="slipway", description="PersistentVolumeClaim for runs and data, mounted at mount_path."
    )
    mount_path: Absolute = Field(
        default="/workspace", description="Path of that volume in the pod, and the trainer's current folder."
    )
    storage_class: Word | None = Field(
        default=None,
        description="Storage class of the claim in deploy/kubernetes/volume.yaml; several nodes must be able to "
        "write to it. null: the cluster's default.",
    )
    wandb_secret: Word | None = Field(
        default=None, description="Name of the Secret whose key WANDB_API_KEY holds wandb's key."
    )
    runtime_ref: Word | None = Field(
        default=None,
        description="ClusterTrainingRuntime of a TrainJob, such as torch-distributed; null: create one for the "
        "run, with the rules for exit codes and without a service account token.",
    )
    priority_class: Word | None = Field(
        default=None, description="PriorityClass of the pods; null: the cluster's default."
    )
    service_account: Word | None = Field(
        default=None, description="Service account of the pods; null: the namespace's default."
    )
    termination_grace_seconds: NonNegativeInt = Field(
        default=300,
        description="Seconds from SIGTERM to SIGKILL; set it longer than a step and a save together, or both are "
        "lost.",
    )
