"""The contents of the lines of metrics.jsonl, with units: people read them on the site's page about metrics.

Imports nothing. Tests hold the lines of real runs, and the events that the code writes, to these tables.
"""

from typing import NamedTuple


class Field(NamedTuple):
    """A field of a line."""

    unit: str
    """Empty if it has none."""
    meaning: str
    sometimes: bool = False
    """Whether some lines of the kind lack it."""


EVERY = {
    "kind": Field("", "The kind of line: one of those below."),
    "time": Field("s", "Unix time at which the line was written."),
    "step": Field("steps", "The step that it is about, from 1; 0: before the first."),
}
"""The fields that every line has."""

LINES: dict[str, tuple[str, dict[str, Field]]] = {
    "train": (
        "One for each step.",
        {
            "loss": Field("loss_unit", "Mean over the global batch (GPT: nats per token); null: not finite."),
            "measures": Field(
                "", "Further numbers of the model family by name, means over the global batch.", True
            ),
            "learning_rate": Field("", "The rate of this update."),
            "grad_norm": Field("", "L2 norm of the whole gradient before clipping."),
            "updated": Field("", "Whether the weights were updated; false: the guard skipped the batch."),
            "consumed_samples": Field("samples", "Samples that the run has read after this step."),
            "step_seconds": Field("s", "Wall time of the step."),
            "data_wait_seconds": Field("s", "Part of step_seconds in which training waited for samples."),
            "samples_per_second": Field("samples/s", "Samples of all ranks per second."),
            "units_per_second": Field(
                "units/s", "Units of all ranks per second; the run's event `start` names the unit."
            ),
            "tflops_per_device": Field(
                "TFLOP/s", "Model FLOP of the step per second and device, without recomputation."
            ),
            "peak_tflops": Field(
                "TFLOP/s", "Peak of one device: the profile's dense peak, or a measured one."
            ),
            "mfu": Field("share", "Model FLOP utilization: tflops_per_device over peak_tflops."),
            "mfu_palm": Field(
                "share",
                "Model FLOP utilization as PaLM's paper counts it; absent for families without that count.",
                True,
            ),
            "attended": Field(
                "share",
                "With separate documents: the part of attention's square that was computed.",
                True,
            ),
            "memory_gib": Field(
                "GiB",
                "Highest memory allocated on the GPU of rank 0; on a CPU, the resident memory of its process.",
            ),
            "power_watts": Field("W", "Power of rank 0's GPU, mean over the step; NVIDIA's GPUs only.", True),
            "clock_mhz": Field("MHz", "Clock of its multiprocessors, mean over the step.", True),
            "energy_joules": Field(
                "J",
                "Energy by source over all ranks since the segment began; absent without a counter.",
                True,
            ),
            "energy_counters": Field("", "Number of devices or nodes that were counted, by source.", True),
        },
    ),
    "validation": (
        "One for each validation.",
        {
            "loss": Field("loss_unit", "Mean over the validation's batches."),
            "measures": Field("", "Further numbers of the model family, by name.", True),
        },
    ),
    "evaluation": (
        "One for each evaluation during training.",
        {
            "name": Field("", "Name of the result, as in its file's name."),
            "measures": Field("", "Values by TEXT/MEASURE; docs/evaluation.md has their units."),
        },
    ),
    "checkpoint": (
        "One for each checkpoint that is complete.",
        {
            "path": Field("", "Folder of the checkpoint."),
            "seconds": Field("s", "Time from its start to its commit."),
            "stall_seconds": Field("s", "Part of `seconds` in which training was blocked."),
            "consumed": Field("samples", "Samples that the run has read, by source."),
        },
    ),
    "load": (
        "Routing of a mixture of experts, every `logging.load_interval` steps.",
        {
            "parts": Field("", "Kind of the parts that share the work: experts."),
            "places": Field("", "Layers that have such parts."),
            "load": Field(
                "multiple", "Load by layer and expert, as a multiple of an even share of the tokens."
            ),
            "bias": Field("", "Bias of the router by layer and expert, if it has one.", True),
        },
    ),
    "ranks": (
        "Every `watch.straggler_interval` steps.",
        {"forward_seconds": Field("s", "Mean forward pass of each rank, in the order of ranks.")},
    ),
    "profile": (
        "One, after the steps that `logging.profile_step` names.",
        {
            "first": Field("steps", "The first step under the profiler, which does not count."),
            "steps": Field("steps", "Number of steps that count."),
            "seconds": Field("s", "Time of a step by kind of work; means over ranks and steps."),
        },
    ),
    "event": (
        "One for each event; a resumed run keeps these lines when it removes those of undone steps.",
        {"event": Field("", "Name of the event: one of those below, each with its own fields.")},
    ),
}
"""By kind: when such a line is written, and its fields besides those of every line."""

EVENTS = {
    "start": "A segment begins its first step: seconds since the command, units of the run, where the peak is from.",
    "stop": "The segment ends early, with the reason.",
    "slice refused": "A start was refused because too little time was left for a step and a save.",
    "checkpoint skipped": "A damaged checkpoint was skipped, with its path and the reason.",
    "checkpoint warning": "A checkpoint is complete; tidying up after it failed.",
    "blend changed": "The blend of the data's sources changed at this step.",
    "layout changed": "The run continues in another layout.",
    "skip": "The guard skipped a batch.",
    "rollback": "The guard went back to a checkpoint; `samples_left_out` is the stretch that is not read again.",
    "guard stop": "The guard ended the run before an update.",
    "collapse": "A router has collapsed.",
    "collapse over": "The collapse is over.",
    "hang": "A rank hung; `ranks` are the suspects.",
    "straggler": "A rank is slower than its peers; `rank` and `host` name it.",
    "steps missing": "The file has no lines of steps that the checkpoint has.",
    "foreign lines": "The file has lines that are no records; `count` of them.",
    "picture not written": "The picture of a validation could not be written.",
    "evaluation not possible": "An evaluation could not be carried out.",
    "evaluation not finite": "An evaluation gave NaN or Inf.",
    "evaluation not written": "The file of an evaluation could not be written.",
    "wandb offline": "wandb keeps its data on disk from here on.",
    "wandb incomplete": "wandb lacks lines.",
    "wandb stopped": "wandb takes no more lines.",
    "tensorboard stopped": "TensorBoard takes no more lines.",
}
