"""The verbs that export checkpoints to other libraries and import theirs: one action for each format."""

from pathlib import Path

from slipway.verbs import values
from slipway.verbs.declare import Argument, Option, Verb

_FILE = "a name that ends in .pt (terratorch's own) or .safetensors"

_STEP = Option("--step", "the checkpoint of this step (default: the newest good one)", "N", values.natural)

_READS = (
    "The configuration is the run's own plan.json. Reads the checkpoint tensor by tensor in one process, whatever\n"
    "layout has written it; needs no GPU.\n"
)
_HF_EXAMPLE = "  slipway export hf run.dir=runs/demo to=demo-hf --license apache-2.0"
_TT_EXAMPLE = "  slipway export terratorch run.dir=runs/earth to=earth.pt"

EXPORT = Verb(
    "write a run's checkpoint so that another library loads it",
    actions={
        "hf": Verb(
            "a GPT as a Hugging Face folder, for transformers, vLLM and lm-evaluation-harness",
            (
                Option("to=", "the folder to write, which must not exist yet", "FOLDER", Path),
                _STEP,
                Option(
                    "--precision",
                    "bf16: the numbers that a run with training.precision=bf16 computes with, and its default; fp32: "
                    "those that training updates. Nothing is rounded",
                    "NAME",
                    choices=("fp32", "bf16"),
                ),
                Option(
                    "--shard-size",
                    "write files of weights of about SIZE, such as 5GB (default) or 500MB",
                    "SIZE",
                    values.file_size,
                    5 * 10**9,
                ),
                Option(
                    "--license",
                    "name the model's licence for its card, by an identifier such as apache-2.0",
                    "ID",
                ),
                Option("--author", "name who is responsible for the model, for its card", "NAME"),
            ),
            notes=lambda: (
                _READS
                + "Writes config.json, generation_config.json, model*.safetensors with their index, the\n"
                "tokenizer's files, and README.md: a card of what the run's record says of the model.\n"
                "docs/huggingface.md has all of it."
            ),
            acts=True,
            examples=f"{_HF_EXAMPLE}\n  slipway export hf run.dir=runs/demo --step 100 to=demo-hf-100",
        ),
        "terratorch": Verb(
            "a masked auto-encoder as terratorch's Prithvi, for fine-tuning there",
            (
                Option("to=", f"the file to write, which must not exist yet: {_FILE}", "FILE", Path),
                _STEP,
                Option(
                    "--precision",
                    "fp32 (default): the numbers that training updates; bf16: those that a run with "
                    "training.precision=bf16 computes with. Nothing is rounded",
                    "NAME",
                    choices=("fp32", "bf16"),
                ),
            ),
            notes=lambda: (
                _READS
                + "Keys are those of terratorch's whole model (encoder.*, decoder.*), from which its backbones take\n"
                "the encoder. docs/terratorch.md leads from here to a fine-tuned model."
            ),
            acts=True,
            examples=f"{_TT_EXAMPLE}\n"
            "  slipway export terratorch run.dir=runs/earth --step 400 to=earth-400.safetensors",
        ),
    },
    takes="run",
    module="handover.outward",
    examples=f"{_HF_EXAMPLE}\n{_TT_EXAMPLE}",
)

_HF_IMPORT = (
    "  slipway import hf Llama-3.2-1B run.dir=runs/mine model=llama3_2_1b training.precision=bf16 \\\n"
    "      optimizer.lr=2e-5 training.steps=1000 data=files data.sources.files.inputs=[texts/]"
)
_TT_IMPORT = (
    "  slipway import terratorch Prithvi_EO_V2_300M.pt run.dir=runs/mine \\\n"
    "      model=prithvi_eo2_300m data=hls data.sources.hls.inputs=[scenes/]"
)

IMPORT = Verb(
    "start a run from another library's weights, to train on in any layout",
    actions={
        "hf": Verb(
            "a Hugging Face folder: config.json, *.safetensors, tokenizer.json",
            argument=Argument("source", "FOLDER"),
            notes=lambda: (
                "The words after it are those of the `slipway train` that continues: run.dir, model, data and all.\n"
                "model=auto derives the model from config.json and prints what it derived; with any other, the fields\n"
                "are compared, and a difference is reported with what to set. The run begins at step 0 with these\n"
                "weights, and a fresh optimizer. The tokenizer is kept in run.dir/tokenizer.\n"
                "Files are read as data: a pickle (pytorch_model.bin) is refused. docs/huggingface.md"
            ),
            acts=True,
            examples=f"{_HF_IMPORT}\n"
            "  slipway import hf SmolLM2-135M run.dir=runs/small model=auto optimizer.lr=1e-4 training.steps=1000",
        ),
        "terratorch": Verb(
            "a Prithvi of terratorch (Prithvi-EO-2.0 and 1.0 among them), decoder and all",
            argument=Argument("source", "FILE"),
            notes=lambda: (
                f"FILE is {_FILE}, and is read as data: it cannot run code.\n"
                "The words after it are those of the `slipway train` that continues: run.dir, model, data and all.\n"
                "Sizes are compared with the file's, and a difference is reported with what to set. The run begins at\n"
                "step 0 with these weights, and a fresh optimizer."
            ),
            acts=True,
            examples=_TT_IMPORT,
        ),
    },
    takes="configuration",
    module="handover.inward",
    examples=f"{_HF_IMPORT}\n{_TT_IMPORT}",
)
