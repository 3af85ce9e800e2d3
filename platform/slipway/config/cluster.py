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
        default="cpu",
        description="What ranks compute on; cuda means an NVIDIA GPU, or an AMD GPU through ROCm.",
    )
    name: str = Field(
        default="CPU",
        description="Name as the driver reports it; conf/devices.yaml lists devices by this name.",
    )
    memory_gib: PositiveFloat | None = Field(
        default=None, description="Memory of one device, GiB; null: not known."
    )
    compute_capability: PositiveFloat | None = Field(
        default=None,
        description="NVIDIA's compute capability, such as 9.0; null: not known, or another vendor.",
    )
    peak_tflops_bf16: PositiveFloat | None = Field(
        default=None, description="Dense bf16 peak, TFLOP/s; null: measured."
    )
    peak_tflops_fp32: PositiveFloat | None = Field(
        default=None,
        description="fp32 peak, TFLOP/s, without TF32, which Slipway does not use; null: measured.",
    )
    peak_tflops_fp8: PositiveFloat | None = Field(
        default=None,
        description="Dense FP8 peak, TFLOP/s; null: training.fp8 is compared with the bf16 peak.",
    )
    measured: Path | None = Field(
        default=None,
        description="File of constants that `slipway bench device` wrote, used for planning instead of those in "
        "conf/devices.yaml; null: use conf/devices.yaml.",
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
        default=None, description="Bandwidth between the devices of a node, per device and direction, GB/s."
    )
    inter_node_gb_per_s: PositiveFloat | None = Field(
        default=None, description="Bandwidth between nodes, per device and direction, GB/s."
    )
    fabric: Literal["infiniband", "slingshot", "efa", "roce", "omnipath", "ethernet"] | None = Field(
        default=None,
        description="Network between nodes; with any but ethernet, collectives over TCP count as a fault. null: "
        "not known.",
    )
    interfaces: Interfaces = Field(
        default=[],
        description="Network interfaces for rendezvous and sockets (NCCL_SOCKET_IFNAME, and GLOO_SOCKET_IFNAME where "
        f"the names are exact): {selection.ALLOWED}, but without ports.",
    )
    adapters: Adapters = Field(
        default=[],
        description=f"Host channel adapters that collectives use (NCCL_IB_HCA): {selection.ALLOWED}.",
    )


class Node(Section):
    """The size and kind of a node."""

    cores: PositiveInt | None = Field(
        default=None,
        description="Cores that a job may use; on a Kubernetes node its logical CPUs. null: not known.",
    )
    cores_per_device: PositiveInt | None = Field(
        default=None, description="Cores of each rank; null: the launcher chooses."
    )
    memory_gib: PositiveFloat | None = Field(
        default=None,
        description="Host memory that a job may use, GiB; on a Kubernetes node all of it. null: not known.",
    )
    architecture: Literal["x86_64", "aarch64"] = Field(
        default="x86_64", description="CPU architecture of the nodes and of the image."
    )
    cpu_masks: Masks = Field(
        default=[],
        description="Cores of each local rank as hexadecimal masks (srun --cpu-bind=mask_cpu); empty: bind by "
        "cores.",
    )


class Container(Section):
    """The way in which the image runs on the site's nodes."""

    runtime: Literal["apptainer", "singularity"] = Field(
        default="apptainer", description="Container runtime of Slurm clusters; Kubernetes has its own."
    )
    modules: list[Word] = Field(
        default=[], description="Environment modules to load before the container starts, in this order."
    )
    options: list[Line] = Field(default=[], description="Further options of `exec`, such as --nv or --rocm.")
    binds: list[Line] = Field(
        default=[], description="Paths to bind into the container, each as SOURCE or SOURCE:TARGET[:ro]."
    )
    image: Line = Field(
        default="slipway.sif",
        description="Image to use if launch.image is null: a SIF file, or an image reference.",
    )


class Queue(Section):
    """One queue of a Slurm site: a partition, with a QoS if the site requires one."""

    partition: Word | None = Field(
        description="Partition (--partition); null: the site's default, and launch.partition may name any."
    )
    qos: Word | None = Field(default=None, description="Quality of service (--qos); null: pass none.")
    min_nodes: PositiveInt = Field(default=1, description="Fewest nodes of a job.")
    max_nodes: PositiveInt | None = Field(
        default=None, description="Most nodes of a job; null: all nodes of the machine."
    )
    max_hours: PositiveFloat | None = Field(
        default=None, description="Longest wall time of a job, hours; null: not known."
    )


class Slurm(Section):
    """The requirements that a Slurm site has for a job."""

    queues: dict[Word, Queue] = Field(
        min_length=1, description="Queues by name, the usual one first; Slipway takes the first that fits."
    )
    account_required: bool = Field(
        default=False, description="Refuse a job without launch.account, because the site charges a project."
    )
    account_suffix: str = Field(
        default="", pattern=r"^[A-Za-z0-9_-]*$", description="Ending that account names need for these nodes."
    )
    qos_required: bool = Field(
        default=False, description="Refuse a job without launch.qos, because the site requires a QoS."
    )
    gpu_request: Literal["gres", "gpus-per-node", "gpus"] = Field(
        default="gres",
        description="Option that requests GPUs: --gres=gpu:N, --gpus-per-node=N, or --gpus=N over all nodes.",
    )
    gpu_type: Word | None = Field(
        default=None, description="Type of GPU in that option, such as a100 in gpu:a100:N; null: any."
    )
    exclusive: bool = Field(default=True, description="Request whole nodes.")
    memory: Memory | None = Field(
        default=None,
        description="Memory of a whole node (--mem), such as 480G; 0: all of it; null: the site's default. A job "
        "on part of a shared node asks for its share.",
    )
    cpu_bind: Word | None = Field(
        default="cores",
        description="Option --cpu-bind of srun if node.cpu_masks is empty; null: leave binding to the site.",
    )
    show_all_devices: bool = Field(
        default=False,
        description="Set CUDA_VISIBLE_DEVICES of each task to all devices of the job, because the site's srun "
        "shows a task only one.",
    )
    constraint: Constraint | None = Field(
        default=None, description="Features that nodes must have (--constraint)."
    )
    requeue: bool = Field(
        default=False,
        description="Let a job requeue itself; else each segment submits the next one as a dependent job.",
    )
    host_suffix: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9.-]*$",
        description="Suffix added to the first node's short name to make MASTER_ADDR.",
    )
    resolve_address: bool = Field(
        default=False, description="Set MASTER_ADDR to the IP address that the name resolves to."
    )
    sbatch_options: list[SbatchOption] = Field(
        default=[], description="Further #SBATCH lines, such as --hint=nomultithread."
    )
    srun_options: list[SrunOption] = Field(
        default=[], description="Further options of srun, such as --mpi=none."
    )
    signal_seconds: PositiveInt = Field(
        default=300,
        le=65535,  # sbatch(1), --signal
        description="Send SIGUSR1 to the ranks this many seconds before the wall time ends.",
    )
    max_array_size: PositiveInt | None = Field(
        default=None, description="Most jobs of one array; null: not known."
    )

    @field_validator("show_all_devices")
    @classmethod
    def _devices_are_the_jobs(cls, value: bool, info: ValidationInfo) -> bool:
        if value and not info.data.get("exclusive", True):
            raise ValueError("true needs exclusive=true: on a shared node it would show others' devices")
        return value


class Source(Section):
    """A document, or users' scripts, and the fields of a profile that come from there."""

    of: list[Line] = Field(
        min_length=1, description="Dotted paths of the fields and sections that the source covers."
    )
    document: Line = Field(description="Address, repository and path, or words that find the document again.")


class Cluster(Section):
    """A machine: its devices, its nodes, its rules."""

    name: str = Field(description="Name of the profile's file.")
    description: str = Field(default="", description="Description in one line, shown by `slipway clusters`.")
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
        description="Estimate a step as its FLOP at this share of the peak, plus the pipeline bubble and "
        "recomputation; null: use the planner's own model of a step (docs/planner.md).",
    )
    storage_gb_per_s: PositiveFloat | None = Field(
        default=None,
        description="Bandwidth at which all ranks together write a checkpoint, GB/s; null: not known.",
    )
    container: Container = Container()
    environment: dict[Variable, Line] = Field(default={}, description="Environment variables of every rank.")
    internet: bool | None = Field(
        default=None, description="Whether compute nodes reach the internet; null: not known."
    )
    file_systems: dict[Word, Line] = Field(
        default={}, description="File systems, with their paths and what they are for."
    )
    notes: list[str] = Field(default=[], description="Notes for users, shown by `slipway clusters`.")
    warnings: list[str] = Field(
        default=[],
        description="Warnings that `slipway launch` repeats: what costs a job its speed or its start if nobody "
        "heeds it.",
    )
    slurm: Slurm | None = None
    kubernetes: Kubernetes | None = None
    unverified: list[str] = Field(
        default=[],
        description="Dotted paths of fields and sections that are not verified on the site, such as "
        "slurm.queues.booster.max_hours or container.",
    )
    sources: list[Source] = Field(
        default=[], description="Sources of the values, shown by `slipway clusters NAME`."
    )

    @field_validator("environment")
    @classmethod
    def _variables_make_sense(cls, value: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        network = info.data.get("network")
        if trouble := variables.trouble(value, network.model_dump() if network else {}):
            raise ValueError(trouble)
        return value
