"""What users get wrong about optimizers: rows of the table."""

from bad_inputs import BadInput
from train.bad_inputs_training import a_checkpoint

ROWS = [
    BadInput(
        "a momentum that forgets nothing",
        "plan optimizer=muon optimizer.momentum=1",
        "optimizer.momentum",
        ("1",),
    ),
    BadInput(
        "no momentum to look ahead with",
        "plan optimizer=muon optimizer.momentum=0",
        "optimizer.momentum",
        ("0",),
    ),
    BadInput(
        "a first moment that forgets nothing",
        "plan optimizer=muon optimizer.beta1=1",
        "optimizer.beta1",
        ("1",),
    ),
    BadInput(
        "a second moment below zero", "plan optimizer=muon optimizer.beta2=-0.1", "optimizer.beta2", ("-0.1",)
    ),
    BadInput(
        "a scale of learning rates that nobody knows",
        "plan optimizer=muon optimizer.adjust_lr_fn=spectral",
        "optimizer.adjust_lr_fn",
        ("spectral", "original", "match_rms_adamw"),
    ),
    BadInput(
        "no orthogonalization", "plan optimizer=muon optimizer.ns_steps=0", "optimizer.ns_steps", ("0",)
    ),
    BadInput("a rate of nothing", "plan optimizer=muon optimizer.adamw_lr=0", "optimizer.adamw_lr", ("0",)),
    BadInput("Muon's momentum for AdamW", "plan optimizer.momentum=0.9", "optimizer.momentum", ("beta1",)),
    BadInput(
        "an optimizer misspelt", "plan optimizer.name=moun", "optimizer.name", ("moun", "muon", "adamw")
    ),
    BadInput(
        "a fused optimizer that has no matrices",
        "train optimizer=muon kernels.optimizer=te",
        "kernels.optimizer",
        ("te", "optimizer.name=muon", "null"),
    ),
    BadInput(
        "a comparison with AdamW",
        "bench compare optimizer=muon",
        "optimizer.name",
        ("muon", "adamw"),
    ),
    BadInput(
        "matrices that FSDP cuts",
        "train optimizer=muon parallelism=zero2 resources.devices_per_node=2",
        "parallelism.data_parallel_sharding_strategy",
        ("optim_grads", "muon", "use_distributed_optimizer=true"),
    ),
    BadInput(
        "matrices that FSDP cuts, parameters too",
        "plan optimizer=muon parallelism=zero3 resources.devices_per_node=2",
        "parallelism.data_parallel_sharding_strategy",
        ("optim_grads_params", "muon"),
    ),
    BadInput(
        "checkpoint of another optimizer",
        "train optimizer=muon",
        "optimizer.name",
        ("muon", "adamw", "step-00000010", "run.dir"),
        a_checkpoint(optimizer="adamw"),
    ),
    BadInput(
        "checkpoint of before optimizers were written down",
        "train optimizer=muon",
        "optimizer.name",
        ("muon", "adamw", "step-00000010", "run.dir"),
        a_checkpoint(),
    ),
    BadInput(
        "checkpoint of another optimizer than AdamW",
        "train",
        "optimizer.name",
        ("adamw", "muon", "step-00000010", "run.dir"),
        a_checkpoint(optimizer="muon"),
    ),
]
