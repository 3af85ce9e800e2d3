"""The verbs that give checkpoints to other libraries and take theirs: one action for each format."""

from pathlib import Path

from slipway.verbs import values
from slipway.verbs.declare import Option, Verb

_FILE = "a name that ends in .pt (terratorch's own) or .safetensors"

EXPORT = Verb(
    "write a run's checkpoint as a file that another library loads",
    actions={
        "terratorch": Verb(
            "a masked auto-encoder as terratorch's Prithvi, for fine-tuning there",
            (
                Option("--to", f"the file to write, which is not there yet: {_FILE}", "FILE", Path),
                Option(
                    "--step",
                    "the checkpoint of this step (default: the newest good one)",
                    "N",
                    values.natural,
                ),
                Option(
                    "--precision",
                    "fp32 (default): the numbers that training updates; bf16: those that a run with "
                    "training.precision=bf16 computes with. Nothing is rounded",
                    "NAME",
                    choices=("fp32", "bf16"),
                ),
            ),
            notes=lambda: (
                "Of the configuration only run.dir is needed: sizes are those of the run's plan.json. Reads the\n"
                "checkpoint tensor by tensor in one process, whatever layout has written it; needs no GPU.\n"
                "Keys are those of terratorch's whole model (encoder.*, decoder.*), from which its backbones take the\n"
                "encoder. docs/terratorch.md leads from here to a fine-tuned model."
            ),
            acts=True,
            examples="  slipway export terratorch run.dir=runs/earth --to earth.pt\n"
            "  slipway export terratorch run.dir=runs/earth --step 400 --to earth-400.safetensors",
        ),
    },
    takes="configuration",
    module="handover.outward",
    examples="  slipway export terratorch run.dir=runs/earth --to earth.pt",
)

IMPORT = Verb(
    "start a run from another library's file, to train on in any layout",
    actions={
        "terratorch": Verb(
            "a Prithvi of terratorch (Prithvi-EO-2.0 and 1.0 among them), decoder and all",
            (
                Option(
                    "--from",
                    f"the file to read: {_FILE}. Read as data: it cannot run code (torch.load, weights_only=True)",
                    "FILE",
                    Path,
                ),
            ),
            notes=lambda: (
                "The words after it are those of the `slipway train` that continues: run.dir, model, data and all.\n"
                "Sizes are compared with the file's, and a difference is told with what to set. The run begins at\n"
                "step 0 with these weights, and an optimizer that knows nothing yet."
            ),
            acts=True,
            examples="  slipway import terratorch --from Prithvi_EO_V2_300M.pt run.dir=runs/mine \\\n"
            "      model=prithvi_eo2_300m data=hls data.sources.hls.inputs=[scenes/]",
        ),
    },
    takes="configuration",
    module="handover.inward",
    examples="  slipway import terratorch --from Prithvi_EO_V2_300M.pt run.dir=runs/mine \\\n"
    "      model=prithvi_eo2_300m data=hls data.sources.hls.inputs=[scenes/]",
)
