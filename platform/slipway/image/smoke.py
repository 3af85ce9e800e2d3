"""The commands that run the smoke test inside an image or a SIF as jobs run: read-only and without root."""

from pathlib import Path

PYTHON, SCRIPT = "/opt/slipway/bin/python", "/opt/slipway/share/smoke.py"


def in_engine(engine: str, image: str, gpu: str | None) -> list[str]:
    """Return the command for podman or docker. /tmp is memory from which code compiled at run time may be executed."""
    words = [engine, "run", "--rm", "--read-only", "--tmpfs", "/tmp:rw,exec,size=2g", "--network", "none"]
    if gpu == "nvidia":
        words += ["--device", "nvidia.com/gpu=all"] if engine == "podman" else ["--gpus", "all"]
    if gpu == "amd":
        words += ["--device", "/dev/kfd", "--device", "/dev/dri"]
    return [*words, image, PYTHON, SCRIPT]


def in_apptainer(sif: Path, gpu_option: str | None) -> list[str]:
    """Return the command `apptainer test`, contained: %test runs the same script."""
    extra = [gpu_option] if gpu_option else []
    return ["apptainer", "test", "--containall", "--no-home", *extra, str(sif)]
