"""What users get wrong, and what the answer must say: one table for all verbs.

Every row is run by test_bad_inputs.py in an empty folder: exit code 2, exactly one line on stderr that begins
with the path and holds all the facts, no traceback, nothing written. Here stand rows about the values of the
configuration; others stand beside what they are about.
"""

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class BadInput:
    """One mistake."""

    name: str
    argv: str
    """The command line; no word holds a space."""
    path: str
    """What the one line begins with: the option, field, file (in FOLDER) or variable that is wrong."""
    facts: tuple[str, ...]
    """Values, numbers, names and paths that the line also holds; no prose, which may be reworded."""
    prepare: Callable[[Path], None] | None = None
    """Puts into the folder what the mistake needs: a broken file, an old checkpoint."""


KEYS_AND_VALUES = [
    BadInput(
        "a device that nobody knows",
        "plan model=gpt3_125m cluster=h100_cloud cluster.device.name=NVIDIA-H200X",
        "cluster.device.name",
        ("NVIDIA-H200X", "NVIDIA-H200", "cluster.device.measured", "cluster.expected_mfu"),
    ),
    BadInput(
        "constants that are not there",
        "plan model=gpt3_125m cluster=h100_cloud cluster.device.measured=none.yaml",
        "none.yaml",
        (os.strerror(errno.ENOENT),),
    ),
    BadInput("choice misspelt", "plan model=gpt3_125", "model=gpt3_125", ("gpt3_125m", "llama3_8b")),
    BadInput("group misspelt", "plan modle=demo", "modle", ("model",)),
    BadInput("group given twice", "plan +experiment=demo", "experiment", ("twice",)),
    BadInput("key misspelt", "plan training.step=3", "training.step", ("steps",)),
    BadInput("section misspelt", "plan trainin.steps=3", "trainin", ("training",)),
    BadInput("key deleted", "plan ~training.steps", "training.steps", ("training.tokens",)),
    BadInput(
        "two budgets",
        "plan training.steps=10 training.tokens=300e9",
        "training.tokens",
        ("training.steps", "300e9"),
    ),
    BadInput(
        "two budgets in a sweep",
        "launch -m training.samples=10,20 training.units=5",
        "training.units",
        ("training.samples", "5"),
    ),
    BadInput("a broken token", "plan training.tokens=1.5", "training.tokens", ("1.5",)),
    BadInput(
        "two warm-ups",
        "train optimizer.lr_warmup_steps=4 optimizer.lr_warmup_fraction=0.1",
        "optimizer.lr_warmup_fraction",
        ("optimizer.lr_warmup_steps", "0.1"),
    ),
    BadInput(
        "a share above the whole",
        "plan optimizer.lr_warmup_fraction=1.5",
        "optimizer.lr_warmup_fraction",
        ("1.5", "1"),
    ),
    BadInput("no value", "plan data=files", "data.sources.files.inputs", ()),
    BadInput("word for a number", "plan training.steps=ten", "training.steps", ("ten",)),
    BadInput("a switch for a number", "plan training.steps=true", "training.steps", ("true",)),
    BadInput(
        "switches for shares",
        "plan data.split=[true,true,true]",
        "data.split",
        ("[True, True, True]", "True"),
    ),
    BadInput("infinite rate", "plan optimizer.lr=inf", "optimizer.lr", ("inf", "finite")),
    BadInput("run name with a slash", "plan run.name=a/b", "run.name", ("a/b",)),
    BadInput(
        "source name leaves the folder",
        "plan +data.sources={../x:{inputs:[a]}}",
        "data.sources.../x.[key]",
        ("/x",),
    ),
    BadInput("two shares", "plan data.split=[0.9,0.1]", "data.split", ("3",)),
    BadInput("a word that YAML knows", "plan run.dir=true", "run.dir", ("true", 'run.dir="true')),
    BadInput("a number for text", "plan run.name=5", "run.name", ("5", 'run.name="5')),
    BadInput("unknown interpolation", "plan training.seed=${nope}", "training.seed", ("nope",)),
    BadInput("interpolation of itself", "plan run.name=${run.name}", "run.name", ()),
]

LAYOUT = [
    BadInput(
        "positions of documents where there are none",
        "plan data.reset_position_ids=true model.position_embedding_type=rope",
        "data.reset_position_ids",
        ("true", "position_embedding_type=rope"),
    ),
    BadInput(
        "layout does not divide the world",
        "plan resources.devices_per_node=8 parallelism.tensor_model_parallel_size=3",
        "parallelism",
        ("world size 8 = 1 nodes x 8 devices", "tensor 3 x pipeline 1 x context 1 = 3"),
    ),
    BadInput(
        "layout larger than the world",
        "plan parallelism.tensor_model_parallel_size=2",
        "parallelism",
        ("tensor 2 x pipeline 1 x context 1 = 2",),
    ),
    BadInput(
        "heads by tensor parallel",
        "plan resources.devices_per_node=3 parallelism.tensor_model_parallel_size=3",
        "model.num_attention_heads",
        ("tensor_model_parallel_size", "4 = 1 x 3 + 1"),
    ),
    BadInput(
        "latent attention with grouped queries",
        "plan model.multi_latent_attention=true model.kv_lora_rank=16 model.qk_head_dim=16 "
        "model.qk_pos_emb_head_dim=16 model.v_head_dim=16 model.num_query_groups=2",
        "model.num_query_groups",
        ("2", "model.multi_latent_attention", "4", "null"),
    ),
    BadInput(
        "query groups by tensor parallel",
        "plan model.num_query_groups=2 resources.devices_per_node=4 parallelism.tensor_model_parallel_size=4",
        "model.num_query_groups",
        ("2", "tensor_model_parallel_size", "4"),
    ),
    BadInput(
        "MLP by tensor parallel",
        "plan model.ffn_hidden_size=510 resources.devices_per_node=4 "
        "parallelism.tensor_model_parallel_size=4",
        "model.ffn_hidden_size",
        ("510 = 127 x 4 + 2",),
    ),
    BadInput(
        "vocabulary by tensor parallel",
        "plan model.make_vocab_size_divisible_by=1 model.vocab_size=8193 resources.devices_per_node=2 "
        "parallelism.tensor_model_parallel_size=2",
        "model.vocab_size",
        ("8193 = 4096 x 2 + 1",),
    ),
    BadInput(
        "sequence by tensor parallel",
        "plan data.sequence_length=255 resources.devices_per_node=2 parallelism=tp2",
        "data.sequence_length",
        ("255 = 127 x 2 + 1", "sequence_parallel"),
    ),
    BadInput(
        "sequence by context parallel",
        "plan data.sequence_length=254 resources.devices_per_node=2 parallelism.context_parallel_size=2",
        "data.sequence_length",
        ("254", "2 x parallelism.context_parallel_size 2 = 4"),
    ),
    BadInput(
        "sequence longer than positions",
        "plan data.sequence_length=257",
        "data.sequence_length",
        ("257", "model.max_position_embeddings", "256"),
    ),
    BadInput(
        "sequence parallel alone",
        "plan parallelism.sequence_parallel=true",
        "parallelism.sequence_parallel",
        ("true", "tensor_model_parallel_size", "1"),
    ),
    BadInput(
        "layers by stages",
        "plan resources.devices_per_node=7 parallelism.pipeline_model_parallel_size=7",
        "parallelism.pipeline_model_parallel_size",
        ("7", "5", "4", "at most 6"),
    ),
    BadInput(
        "layers by virtual stages",
        "plan resources.devices_per_node=2 parallelism.pipeline_model_parallel_size=2 "
        "parallelism.virtual_pipeline_model_parallel_size=4",
        "parallelism.pipeline_model_parallel_size",
        ("2", "4", "pipeline 2 x virtual 4 = 8", "6", "at most 1"),
    ),
    BadInput(
        "a layout of the pipeline that is none",
        "plan parallelism.pipeline_layout=Et*2|m|L",
        "parallelism.pipeline_layout",
        ("Et*2|m|L", "m|L", "E", "t", "L"),
    ),
    BadInput(
        "a layout of the pipeline with too few layers",
        "plan resources.devices_per_node=2 parallelism.pipeline_model_parallel_size=2 "
        "parallelism.pipeline_layout=[1,2]",
        "parallelism.pipeline_layout",
        ("[1, 2]", "3", "4", "2 numbers that sum to 4"),
    ),
    BadInput(
        "virtual stages without a pipeline",
        "plan parallelism.virtual_pipeline_model_parallel_size=2",
        "parallelism.virtual_pipeline_model_parallel_size",
        ("2", "pipeline_model_parallel_size", "1"),
    ),
    BadInput(
        "microbatches by virtual stages",
        "plan resources.devices_per_node=2 parallelism.pipeline_model_parallel_size=2 "
        "parallelism.virtual_pipeline_model_parallel_size=2 training.global_batch_size=6",
        "parallelism.virtual_pipeline_model_parallel_size",
        ("2", "3", "global_batch_size", "6"),
    ),
    BadInput(
        "batch by replicas",
        "plan resources.devices_per_node=3",
        "training.global_batch_size",
        ("16", "micro_batch_size 2 x data parallel 3 = 6"),
    ),
    BadInput(
        "experts without experts",
        "plan resources.devices_per_node=2 parallelism.expert_model_parallel_size=2",
        "parallelism.expert_model_parallel_size",
        ("2", "num_moe_experts"),
    ),
    BadInput(
        "experts with biases",
        "plan model.num_moe_experts=4",
        "model.add_bias_linear",
        ("true",),
    ),
    BadInput(
        "a load of no experts written down",
        "plan logging.load_interval=10",
        "logging.load_interval",
        ("10", "gpt", "null"),
    ),
    BadInput(
        "a collapse without experts",
        "plan guard.on_collapse=stop",
        "guard.on_collapse",
        ("stop", "gpt", "warn"),
    ),
    BadInput(
        "a collapse where all experts have all tokens",
        "plan model.num_moe_experts=2 model.add_bias_linear=false guard.on_collapse=stop",
        "guard.on_collapse",
        ("2", "experts", "warn"),
    ),
    BadInput(
        "a collapse that is ignored after so many steps",
        "plan guard.on_collapse=ignore guard.collapse_steps=9",
        "guard.collapse_steps",
        ("9", "on_collapse=ignore", "50"),
    ),
    BadInput(
        "best without validation at checkpoints",
        "plan checkpoint.keep_best=1 checkpoint.interval=50 validation.interval=100",
        "checkpoint.keep_best",
        ("1", "checkpoint.interval", "50", "validation.interval", "100"),
    ),
    BadInput(
        "a kernel that is not here",
        "train kernels.attention=te",
        "kernels.attention",
        ("te",),
    ),
    BadInput(
        "fp8 without a GPU",
        "train training.fp8=hybrid",
        "training.fp8",
        ("hybrid",),
    ),
    BadInput(
        "experts by expert parallel",
        "plan model.num_moe_experts=8 model.add_bias_linear=false resources.devices_per_node=3 "
        "parallelism.expert_model_parallel_size=3 "
        "training.global_batch_size=12",
        "model.num_moe_experts",
        ("8", "expert_model_parallel_size", "3"),
    ),
    BadInput(
        "expert parallel by replicas",
        "plan model.num_moe_experts=8 model.add_bias_linear=false resources.devices_per_node=2 "
        "parallelism.expert_model_parallel_size=4",
        "parallelism.expert_model_parallel_size",
        ("4", "2"),
    ),
    BadInput(
        "parameter gather without the distributed optimizer",
        "plan parallelism.overlap_param_gather=true",
        "parallelism.overlap_param_gather",
        ("true", "use_distributed_optimizer=true"),
    ),
    BadInput(
        "parameter gather without gradient overlap",
        "plan parallelism.overlap_param_gather=true parallelism.use_distributed_optimizer=true",
        "parallelism.overlap_param_gather",
        ("true", "overlap_grad_reduce=true"),
    ),
    BadInput(
        "sharded gradients without the distributed optimizer",
        "plan parallelism.data_parallel_sharding_strategy=optim_grads resources.devices_per_node=2",
        "parallelism.use_distributed_optimizer",
        ("false", "optim_grads"),
    ),
    BadInput(
        "sharded parameters that are gathered all at once",
        "plan parallelism=zero3 resources.devices_per_node=2 parallelism.overlap_param_gather=false",
        "parallelism.overlap_param_gather",
        ("false", "optim_grads_params"),
    ),
    BadInput(
        "a sharding that Megatron-core calls otherwise here",
        "plan parallelism=zero3 parallelism.data_parallel_sharding_strategy=optim",
        "parallelism.data_parallel_sharding_strategy",
        ("optim", "optim_grads"),
    ),
    BadInput(
        "sharded gradients in a pipeline",
        "train parallelism=zero2 resources.devices_per_node=4 parallelism.pipeline_model_parallel_size=2",
        "parallelism.pipeline_model_parallel_size",
        ("2", "optim_grads", "1"),
    ),
    BadInput(
        "sharded parameters of one replica",
        "train parallelism=zero3 resources.devices_per_node=2 parallelism.tensor_model_parallel_size=2",
        "parallelism.data_parallel_sharding_strategy",
        ("optim_grads_params", "context 1 x data 1 = 1"),
    ),
    BadInput(
        "sharded gradients of experts that have one replica",
        "plan model.num_moe_experts=8 model.add_bias_linear=false parallelism=zero2 resources.devices_per_node=4 "
        "parallelism.expert_model_parallel_size=4",
        "parallelism.data_parallel_sharding_strategy",
        ("optim_grads", "context 1 x data 4 / expert 4 = 1"),
    ),
    BadInput(
        "no layout for so many devices",
        "plan resources.elastic=true resources.devices_per_node=7",
        "resources",
        ("7", "global_batch_size", "16", "6", "8"),
    ),
    BadInput(
        "no layout for the devices to train on",
        "train resources.elastic=true resources.devices_per_node=7 model.num_attention_heads=8",
        "resources",
        ("7", "8", "6"),
    ),
    BadInput(
        "elastic, and wrong in any layout",
        "plan resources.elastic=true resources.devices_per_node=4 parallelism.tensor_model_parallel_size=3 "
        "model.hidden_size=102",
        "model.hidden_size",
        ("102", "num_attention_heads", "4"),
    ),
    BadInput(
        "elastic, more nodes than the site has",
        "plan resources.elastic=true cluster=juwels_booster resources.nodes=1000 "
        "resources.devices_per_node=4",
        "resources.nodes",
        ("1000", "936"),
    ),
    BadInput("elastic, neither yes nor no", "plan resources.elastic=maybe", "resources.elastic", ("maybe",)),
    BadInput(
        "more nodes than the site has",
        "plan cluster=juwels_booster resources.nodes=1000",
        "resources.nodes",
        ("1000", "936", "juwels_booster"),
    ),
    BadInput(
        "more devices than a node has",
        "train cluster=juwels_booster resources.devices_per_node=8",
        "resources.devices_per_node",
        ("8", "4", "juwels_booster"),
    ),
]

SCHEDULE_AND_DATA = [
    BadInput(
        "warm-up as long as the run",
        "plan training.steps=20 optimizer.lr_warmup_steps=20",
        "optimizer.lr_warmup_steps",
        ("20", "training.steps"),
    ),
    BadInput(
        "end above the peak",
        "plan optimizer.lr=1e-4 optimizer.min_lr=1e-3",
        "optimizer.min_lr",
        ("0.001", "optimizer.lr", "0.0001"),
    ),
    BadInput(
        "WSD without its decay",
        "plan optimizer.lr_decay_style=WSD",
        "optimizer.lr_wsd_decay_steps",
        ("WSD",),
    ),
    BadInput(
        "WSD decay without WSD",
        "plan optimizer.lr_wsd_decay_steps=5",
        "optimizer.lr_wsd_decay_steps",
        ("5", "cosine"),
    ),
    BadInput(
        "WSD does not fit",
        "plan optimizer=adamw_wsd training.steps=20 optimizer.lr_warmup_steps=5",
        "optimizer.lr_wsd_decay_steps",
        ("20", "5", "lr_wsd_decay_steps", "25", "training.steps"),
    ),
    BadInput(
        "stop after the end",
        "plan training.steps=10 training.stop_after_step=11",
        "training.stop_after_step",
        ("11", "training.steps", "10"),
    ),
    BadInput(
        "profile after the end",
        "plan training.steps=10 logging.profile_step=8",
        "logging.profile_step",
        ("8", "11", "training.steps", "10", "7"),
    ),
    BadInput(
        "profile cut short",
        "plan training.steps=10 training.stop_after_step=5 logging.profile_step=3",
        "logging.profile_step",
        ("3", "6", "training.stop_after_step", "5", "2"),
    ),
    BadInput(
        "profile in too few steps",
        "plan training.steps=3 logging.profile_step=1",
        "logging.profile_step",
        ("4", "3", "null"),
    ),
    BadInput("report on nothing", "report", "report", ("RUN",)),
    BadInput(
        "validation without data",
        "plan data.split=[1,0,0]",
        "data.split",
        ("[1.0, 0.0, 0.0]", "0", "validation.steps"),
    ),
    BadInput("training without data", "plan data.split=[0,1,0]", "data.split", ("[0.0, 1.0, 0.0]", "0")),
    BadInput(
        "tokenizer file not named",
        "plan data.tokenizer.kind=file",
        "data.tokenizer.path",
        ("tokenizer.json",),
    ),
    BadInput(
        "tokenizer file not used",
        "plan data.tokenizer.path=tokenizer.json",
        "data.tokenizer.path",
        ("tokenizer.json", "kind=bpe"),
    ),
    BadInput(
        "vocabulary larger than the embedding",
        "plan data.tokenizer.vocab_size=10000",
        "data.tokenizer.vocab_size",
        ("10000", "model.vocab_size", "8192"),
    ),
    BadInput(
        "a blend of nothing",
        "plan data.sources.stdlib.weight=0",
        "data.sources",
        ("0",),
    ),
    BadInput(
        "bytes in a smaller embedding",
        "plan data=bytes model.vocab_size=256",
        "model.vocab_size",
        ("256", "257"),
    ),
]

ROWS = [*KEYS_AND_VALUES, *LAYOUT, *SCHEDULE_AND_DATA]
