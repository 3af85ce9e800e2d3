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
        description="Of the bandwidth what collectives reach; above 1: reduced in the switch.",
    )
    latency_us: NonNegativeFloat = Field(default=15.0, description="Of one exchange, its start included.")
    hop_us: NonNegativeFloat = Field(default=1.0, description="More, for each further rank of a ring.")


class Rates(Section):
    """How much of a device's peaks its kernels reach, and what each costs besides. Fitted, or measured.

    A product takes product_us, its operations at product_share of the peak, and product_bytes of the time that its
    operands and its result would take from memory.
    """

    product_share: PositiveFloat = Field(
        le=1.0, description="Of the peak, by large products of linear layers."
    )
    grouped_share: PositiveFloat = Field(le=1.0, description="Of the peak, by the products of experts.")
    unaligned_share: PositiveFloat = Field(
        default=0.05, le=1.0, description="Of the peak, by products whose rows are no multiple of 16 bytes."
    )
    product_us: NonNegativeFloat = Field(default=6.2, description="Each product's own time.")
    product_bytes: NonNegativeFloat = Field(
        default=0.41,
        description="Of the time that a product's bytes would take from memory, what adds to its own.",
    )
    attention_share: PositiveFloat = Field(le=1.0, description="Of the peak, by flash attention, forward.")
    attention_backward_share: PositiveFloat = Field(
        le=1.0, description="Of the peak, by flash attention, backward."
    )
    memory_share: PositiveFloat = Field(
        le=1.0, description="Of the memory's bandwidth, by operators without a product."
    )
    kernel_us: NonNegativeFloat = Field(default=4.0, description="Each such operator's own time.")
    launch_us: NonNegativeFloat = Field(
        default=8.0, description="On the host, for each kernel; counts where the device would wait for it."
    )
    step_ms: NonNegativeFloat = Field(default=10.0, description="On the host, once a step.")
    contention: NonNegativeFloat = Field(
        default=0.1,
        le=1.0,
        description="Of an exchange's time that passes beside work, what that work loses.",
    )


class Hardware(Section):
    """A device with its links, for one precision of products."""

    device: str = Field(description="Its kind, by the name that cluster profiles have for it.")
    precision: str | None = Field(
        default=None, description="Of the products that were measured: bf16 or fp32; null: of the training."
    )
    peak_tflops: PositiveFloat = Field(description="Of products, in the precision of the training, TFLOP/s.")
    memory_gb_per_s: PositiveFloat = Field(description="Of the device's memory, GB/s.")
    rates: Rates
    inside: Link
    between: Link
    inside_devices: PositiveInt = Field(
        description="Devices that the inner links connect: a node's, or more where they span nodes."
    )
    power_w: PositiveFloat | None = Field(default=None, description="At full load, W; null: not known.")
    storage_gb_per_s: PositiveFloat | None = Field(
        default=None, description="What all ranks together write of a checkpoint, GB/s; null: not known."
    )

    def __hash__(self) -> int:
        """Hash the fields that tell most devices apart: a search looks up the same one very often."""
        return hash((self.device, self.peak_tflops, self.inside_devices))
