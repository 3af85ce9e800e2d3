"""What tests of training share about masked auto-encoders: a small model, and prepared chips that it reads."""

from pathlib import Path

from prepared_chips import BANDS, SPLIT, prepared
from slipway.data.imagery.layout import Layout

# a model that eight ranks train in seconds; sequences of 9 and 33 tokens divide by no number of ranks
TINY = [
    "model=earth_demo",
    "model.image_size=16",
    "model.num_frames=2",
    f"model.num_bands={len(BANDS)}",
    "model.patch_size=4",
    "model.num_layers=4",
    "model.hidden_size=32",
    "model.decoder_hidden_size=16",
    "training.steps=20",
    "training.global_batch_size=8",
    "training.micro_batch_size=1",
    "validation.steps=1",
    "validation.interval=2",
    "checkpoint.interval=0",
    "logging.interval=1000",
    "optimizer.lr=1e-3",
    "optimizer.lr_warmup_steps=2",
    # measuring the peak takes a start longer than training eight steps
    "cluster.device.peak_tflops_fp32=0.1",
    "cluster.device.peak_tflops_bf16=0.1",
]
SHARD_BYTES = 50_000


def write(folder: Path) -> list[str]:
    """Prepare chips of which some pixels are not known; returns overrides that read them, turned at random."""
    config = prepared(folder, {"any": 60}, Layout(2, len(BANDS), 16), SHARD_BYTES)
    return [
        "data=any_imagery",
        f"data.dir={config.data.dir}",
        f"data.bands=[{','.join(BANDS)}]",
        "data.crop_size=null",
        f"data.shard_size={SHARD_BYTES}",
        f"data.split=[{','.join(map(str, SPLIT))}]",
        "data.sources.any.inputs=[nowhere]",
        "data.sources.any.format=raster",
    ]
