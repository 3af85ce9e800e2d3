"""Counters of one accelerator with its memory, as its driver's library reports them: NVIDIA's NVML, AMD's SMI."""

from typing import Any

from slipway.energy.counter import Counter


class NvmlDevice:
    """A counter of NVML: millijoules since the driver was loaded.

    nvmlDeviceGetTotalEnergyConsumption, from Volta on (NVML API reference). The device is found by its UUID, as NVML
    knows nothing of CUDA_VISIBLE_DEVICES.
    """

    source = "NVML"
    wraps_at: float | None = None

    def __init__(self, uuid: str) -> None:
        """Find the device by its UUID.

        Raises ImportError without nvidia-ml-py, and NVML's own errors if there is no driver or no such device.
        """
        import pynvml  # pyright: ignore[reportMissingImports]

        pynvml.nvmlInit()
        self._ask: Any = pynvml.nvmlDeviceGetTotalEnergyConsumption
        self._handle = pynvml.nvmlDeviceGetHandleByUUID(uuid if uuid.startswith("GPU-") else f"GPU-{uuid}")

    def read(self) -> float:
        """Return the joules counted since the driver was loaded."""
        return self._ask(self._handle) / 1000


class AmdDevice:
    """A counter of AMD SMI: an accumulator, and the microjoules that each of its counts stands for.

    amdsmi_get_energy_count (AMD SMI's Python reference).
    """

    source = "AMD SMI"
    wraps_at: float | None = None

    def __init__(self, bus: str) -> None:
        """Find the device by its PCI address, such as `0000:c1:00.0`.

        Raises ImportError without amdsmi, and its own errors if there is no such device.
        """
        import amdsmi  # pyright: ignore[reportMissingImports]

        amdsmi.amdsmi_init()
        self._ask: Any = amdsmi.amdsmi_get_energy_count
        self._handle = amdsmi.amdsmi_get_processor_handle_from_bdf(bus)

    def read(self) -> float:
        """Return the joules counted so far."""
        told = self._ask(self._handle)
        return told["energy_accumulator"] * told["counter_resolution"] / 1e6


def of_device(kind: str, identity: str) -> Counter:
    """Return the counter of a device; kind: nvidia (identity: its UUID) or amd (identity: its PCI address)."""
    return NvmlDevice(identity) if kind == "nvidia" else AmdDevice(identity)
