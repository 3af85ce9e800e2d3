"""The performance of a device, its links and its host: the constants of the model of a step. Imports no torch.

`Hardware` is also what a file of measured constants holds (`cluster.device.measured`), as YAML or JSON.
"""

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from slipway.config.section import Section


class Link(Section):
    """A link between devices."""

    gb_per_s: PositiveFloat = Field(description="Bandwidth per device and direction, GB/s.")
    share: PositiveFloat = Field(
        default=0.7,
        le=1.2,
        description="Share of the bandwidth that collectives reach; above 1 if the switch reduces.",
    )
    latency_us: NonNegativeFloat = Field(
        default=15.0, description="Latency of one exchange, including its start, us."
    )
    hop_us: NonNegativeFloat = Field(
        default=1.0, description="Additional latency for each further rank of a ring, us."
    )


class Rates(Section):
    """How much of a device's peaks its kernels reach, and what each costs besides. Fitted, or measured.

    A product takes product_us, its operations at product_share of the peak, and product_bytes of the time that its
    operands and its result would take from memory.
    """

    product_share: PositiveFloat = Field(
        le=1.0, description="Share of the peak that large products of linear layers reach."
    )
    grouped_share: PositiveFloat = Field(
        le=1.0, description="Share of the peak that the products of experts reach."
    )
    unaligned_share: PositiveFloat = Field(
        default=0.05,
        le=1.0,
        description="Share of the peak that products reach whose rows are not a multiple of 16 bytes.",
    )
    product_us: NonNegativeFloat = Field(default=6.2, description="Fixed time of each product, us.")
    product_bytes: NonNegativeFloat = Field(
        default=0.41,
        description="Share of the time that a product's bytes would take from memory, which is added to its own time.",
    )
    attention_share: PositiveFloat = Field(
        le=1.0, description="Share of the peak that flash attention reaches, forward."
    )
    attention_backward_share: PositiveFloat = Field(
        le=1.0, description="Share of the peak that flash attention reaches, backward."
    )
    memory_share: PositiveFloat = Field(
        le=1.0, description="Share of the memory's bandwidth that operators without a product reach."
    )
    kernel_us: NonNegativeFloat = Field(
        default=4.0, description="Fixed time of each operator without a product, us."
    )
    launch_us: NonNegativeFloat = Field(
        default=8.0,
        description="Time on the host for each kernel, us; counts if the device would wait for it.",
    )
    step_ms: NonNegativeFloat = Field(default=10.0, description="Time on the host once a step, ms.")
    contention: NonNegativeFloat = Field(
        default=0.1,
        le=1.0,
        description="Share of an exchange's time, if it runs beside other work, that the other work loses.",
    )


class Hardware(Section):
    """A device with its links, for one precision of products."""

    device: str = Field(description="Kind of device, by the name that cluster profiles have for it.")
    precision: str | None = Field(
        default=None,
        description="Precision of the products that were measured: bf16 or fp32; null: that of the training.",
    )
    peak_tflops: PositiveFloat = Field(
        description="Peak of products in the precision of the training, TFLOP/s."
    )
    memory_gb_per_s: PositiveFloat = Field(description="Bandwidth of the device's memory, GB/s.")
    rates: Rates
    inside: Link
    between: Link
    inside_devices: PositiveInt = Field(
        description="Number of devices that the inner links connect: those of a node, or more if the links span nodes."
    )
    power_w: PositiveFloat | None = Field(
        default=None, description="Power of a device at full load, W; null: not known."
    )
    storage_gb_per_s: PositiveFloat | None = Field(
        default=None,
        description="Rate at which all ranks together write a checkpoint, GB/s; null: not known.",
    )

    def __hash__(self) -> int:
        """Hash the fields that tell most devices apart: a search looks up the same one very often."""
        return hash((self.device, self.peak_tflops, self.inside_devices))
