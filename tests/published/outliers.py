"""Rows that the model of a step is more than 20% off, and the likely reason of each."""

ZERO3 = "DeepSpeed's ZeRO-3 of 2021: every exchange takes as if a node had one adapter; ours shares all of them out"
PCIE = "the source itself: tensor parallelism is very slow on these nodes (PCIe or NUMA, or an unfused path)"
GPT_OSS = "clamped activations, biases of experts and attention sinks cost more than operators of torch's own do here"
BAD = "alone among its neighbours: rows of the same table beside it, with one setting changed, are far faster"
SMALL = (
    "small model at its largest microbatch: neighbours with half the samples have much more tokens per second"
)

OUTLIERS = {
    **dict.fromkeys(("m17", "m18", "m19"), ZERO3),
    **dict.fromkeys(("r559", "r564"), PCIE),
    **dict.fromkeys(("r248", "r264"), GPT_OSS),
    "r133": "gathers of a 70B model over nodes of A100-40 beside two short sequences: its network was slower",
    "r507": BAD,
    "r073": "microbatches of one sequence of a 30B model on one node: it holds less memory than it needs to prefetch",
    "r021": "the same on H100",
    "r114": SMALL,
    "r172": SMALL,
    "r495": "24 data-parallel ranks over Omni-Path, two stages: gradients of 12 B parameters a rank at the step's end",
    "r462": "the same configuration as r463, which took 9% less",
    **dict.fromkeys(
        ("r408", "r409", "r410"), "Grok 1: experts of 32,768 run near the best products, not as the others do"
    ),
    "r257": "Qwen3 235B on GB300, a release later than GB200's: exchanges of experts mostly hidden",
}
