"""A cluster's profile: data, no code. One file in conf/cluster, or in a directory of the user's own."""

from pathlib import Path
from typing import Literal

from pydantic import (
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationInfo,
    field_validator,
)

from slipway.config import selection, variables
from slipway.config.kubernetes import Kubernetes
from slipway.config.notation import (
    Adapters,
    Constraint,
    Interfaces,
    Line,
    Masks,
    Memory,
    SbatchOption,
    SrunOption,
    Variable,
    Word,
)
from slipway.config.section import Section


class Device(Section):
    """One accelerator of the cluster (or one CPU process)."""

    kind: Literal["cpu", "cuda"] = Field(
        default="cpu", description="What ranks compute on; cuda: a GPU of NVIDIA's, or of AMD's by ROCm."
    )
    name: str = Field(
        default="CPU", description="As the driver names it; conf/devices.yaml knows devices by this name."
    )
    memory_gib: PositiveFloat | None = Field(
        default=None, description="Memory of one device, GiB; null: not known."
    )
    compute_capability: PositiveFloat | None = Field(
        default=None,
        description="NVIDIA's number for what a GPU can do, as 9.0; null: not known, or another vendor's.",
    )
    peak_tflops_bf16: PositiveFloat | None = Field(
        default=None, description="Dense bf16 peak, TFLOP/s; null: measured."
    )
    peak_tflops_fp32: PositiveFloat | None = Field(
        default=None,
        description="fp32 peak, TFLOP/s, without TF32, which Slipway does not use; null: measured.",
    )
    peak_tflops_fp8: PositiveFloat | None = Field(
        default=None, description="Dense FP8 peak, TFLOP/s; null: with training.fp8 that of bf16 counts."
    )
    measured: Path | None = Field(
        default=None,
        description="File of constants, as `slipway bench device` writes them, to plan with instead of those that "
        "conf/devices.yaml has for device.name; null: those.",
    )

    @property
    def capability(self) -> tuple[int, int] | None:
        """The compute capability as two numbers, which compare as they should."""
        if self.compute_capability is None:
            return None
        major, minor = str(self.compute_capability).split(".")
        return int(major), int(minor)

    def peak_tflops(self, precision: str) -> float | None:
        """Return the peak in TFLOP/s at a training precision; None if the profile gives none."""
        return {
            "bf16": self.peak_tflops_bf16,
            "fp32": self.peak_tflops_fp32,
            "fp8": self.peak_tflops_fp8,
        }[precision]


class Network(Section):
    """The links of devices and nodes, for the estimate of time and for the doctor."""

    intra_node_gb_per_s: PositiveFloat | None = Field(
        default=None, description="Per device and direction, GB/s."
    )
    inter_node_gb_per_s: PositiveFloat | None = Field(
        default=None, description="Per device and direction, GB/s."
    )
    fabric: Literal["infiniband", "slingshot", "efa", "roce", "omnipath", "ethernet"] | None = Field(
        default=None,
        description="Between nodes; all but ethernet: collectives over TCP are a fault. null: not known.",
    )
    interfaces: Interfaces = Field(
        default=[],
        description="Network interfaces for rendezvous and sockets (NCCL_SOCKET_IFNAME, and GLOO_SOCKET_IFNAME where "
        f"the names are exact): {selection.ALLOWED}, but without ports.",
    )
    adapters: Adapters = Field(
        default=[], description=f"Host channel adapters for collectives (NCCL_IB_HCA): {selection.ALLOWED}."
    )


class Node(Section):
    """The size and kind of a node."""

    cores: PositiveInt | None = Field(
        default=None,
        description="Cores a job may use; of a Kubernetes node its logical CPUs. null: not known.",
    )
    cores_per_device: PositiveInt | None = Field(
        default=None, description="Cores of each rank; null: the launcher's choice."
    )
    memory_gib: PositiveFloat | None = Field(
        default=None, description="Host memory a job may use, GiB; of a Kubernetes node all of it."
    )
    architecture: Literal["x86_64", "aarch64"] = Field(default="x86_64", description="Of the image, too.")
    cpu_masks: Masks = Field(
        default=[],
        description="Cores of each local rank as hexadecimal masks (srun --cpu-bind=mask_cpu); empty: by cores.",
    )


class Container(Section):
    """The way in which the image runs on the site's nodes."""

    runtime: Literal["apptainer", "singularity"] = Field(
        default="apptainer", description="Of Slurm clusters; Kubernetes has its own."
    )
    modules: list[Word] = Field(default=[], description="Modules to load before, in order.")
    options: list[Line] = Field(default=[], description="Further options of `exec`, as --nv or --rocm.")
    binds: list[Line] = Field(
        default=[], description="SOURCE or SOURCE:TARGET[:ro] to bind into the container."
    )
    image: Line = Field(
        default="slipway.sif", description="Where launch.image is null: a SIF file, or an image's reference."
    )


class Queue(Section):
    """One queue of a Slurm site: a partition, with a QoS if the site requires one."""

    partition: Word | None = Field(
        description="--partition; null: the site's default one, and launch.partition may name any."
    )
    qos: Word | None = Field(default=None, description="null: none is given.")
    min_nodes: PositiveInt = Field(default=1, description="Nodes of a job.")
    max_nodes: PositiveInt | None = Field(
        default=None, description="Nodes of a job; null: all of the machine."
    )
    max_hours: PositiveFloat | None = Field(default=None, description="Wall time of a job; null: not known.")


class Slurm(Section):
    """The requirements that a Slurm site has for a job."""

    queues: dict[Word, Queue] = Field(
        min_length=1, description="By name, the usual one first: the first one that fits is taken."
    )
    account_required: bool = Field(
        default=False, description="The site charges a project: refuse a job without launch.account."
    )
    account_suffix: str = Field(
        default="", pattern=r"^[A-Za-z0-9_-]*$", description="What accounts end in for these nodes."
    )
    qos_required: bool = Field(
        default=False, description="The site asks for a QoS: refuse a job without launch.qos."
    )
    gpu_request: Literal["gres", "gpus-per-node", "gpus"] = Field(
        default="gres", description="--gres=gpu:N, --gpus-per-node=N, or --gpus=N over all nodes."
    )
    gpu_type: Word | None = Field(
        default=None, description="In that option, as a100 in gpu:a100:N; null: any."
    )
    exclusive: bool = Field(default=True, description="Whole nodes.")
    memory: Memory | None = Field(
        default=None,
        description="--mem of a whole node, as 480G; 0: all of it; null: the site's default. A job on a part of a "
        "shared node asks for its part.",
    )
    cpu_bind: Word | None = Field(
        default="cores",
        description="--cpu-bind of srun where node.cpu_masks is empty; null: the site binds better than we could say.",
    )
    show_all_devices: bool = Field(
        default=False,
        description="The site's srun shows each task one device: tasks set CUDA_VISIBLE_DEVICES to all of the job's.",
    )
    constraint: Constraint | None = Field(default=None, description="--constraint.")
    requeue: bool = Field(
        default=False,
        description="Jobs may requeue themselves; else each segment submits the next one as a dependent job.",
    )
    host_suffix: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9.-]*$",
        description="Appended to the first node's short name for MASTER_ADDR.",
    )
    resolve_address: bool = Field(default=False, description="MASTER_ADDR is the looked-up IP address.")
    sbatch_options: list[SbatchOption] = Field(
        default=[], description="Further #SBATCH lines, as --hint=nomultithread."
    )
    srun_options: list[SrunOption] = Field(default=[], description="Further options of srun, as --mpi=none.")
    signal_seconds: PositiveInt = Field(
        default=300,
        le=65535,  # sbatch(1), --signal
        description="SIGUSR1 to the ranks so long before the wall time ends.",
    )
    max_array_size: PositiveInt | None = Field(
        default=None, description="Jobs of one array; null: not known."
    )

    @field_validator("show_all_devices")
    @classmethod
    def _devices_are_the_jobs(cls, value: bool, info: ValidationInfo) -> bool:
        if value and not info.data.get("exclusive", True):
            raise ValueError("true needs exclusive=true: on a shared node it would show others' devices")
        return value


class Source(Section):
    """A document, or users' scripts, and the fields of a profile that come from there."""

    of: list[Line] = Field(min_length=1, description="Dotted paths of fields and sections.")
    document: Line = Field(description="An address, a repository and path, or words that find it again.")


class Cluster(Section):
    """A machine: its devices, its nodes, its rules."""

    name: str = Field(description="As the profile's file is named.")
    description: str = Field(default="", description="One line, shown by `slipway clusters`.")
    device: Device = Device()
    network: Network = Network()
    node: Node = Node()
    nodes: PositiveInt | None = Field(default=None, description="Nodes of the machine; null: no limit.")
    devices_per_node: PositiveInt | None = Field(
        default=None, description="Devices of a node; null: no limit."
    )
    expected_mfu: float | None = Field(
        default=None,
        gt=0.0,
        le=1.0,
        description="Override of the planner's model of a step: its time is then its FLOP at this share of the peak, "
        "with the pipeline bubble and recomputation on top; null: the model (docs/planner.md).",
    )
    storage_gb_per_s: PositiveFloat | None = Field(
        default=None,
        description="What all ranks together write of a checkpoint, GB/s; null: not known.",
    )
    container: Container = Container()
    environment: dict[Variable, Line] = Field(default={}, description="Of every rank.")
    internet: bool | None = Field(default=None, description="On compute nodes; null: not known.")
    file_systems: dict[Word, Line] = Field(default={}, description="What they are for, and where they are.")
    notes: list[str] = Field(default=[], description="What users should know; shown by `slipway clusters`.")
    warnings: list[str] = Field(
        default=[],
        description="What costs a job its speed or its start where nobody heeds it; `slipway launch` repeats them.",
    )
    slurm: Slurm | None = None
    kubernetes: Kubernetes | None = None
    unverified: list[str] = Field(
        default=[],
        description="Dotted paths of fields and sections (slurm.queues.booster.max_hours, container) that nobody has "
        "checked on the site.",
    )
    sources: list[Source] = Field(
        default=[], description="Where values are from; shown by `slipway clusters NAME`."
    )

    @field_validator("environment")
    @classmethod
    def _variables_make_sense(cls, value: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        network = info.data.get("network")
        if trouble := variables.trouble(value, network.model_dump() if network else {}):
            raise ValueError(trouble)
        return value
