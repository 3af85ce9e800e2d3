"""What users get wrong, and what the answer must say: one table for all verbs.

Every row is run by test_bad_inputs.py in an empty folder: exit code 2, exactly one line on stderr that begins
with the path and holds all the facts, no traceback, nothing written.
"""

import errno
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from checkpoints import an_index
from slipway import models
from slipway.checkpoint import manifest as checkpoint_manifest
from slipway.config.compose import compose
from slipway.data.ledger import DataLedger
from slipway.plan import make_plan, plan_file


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


def _demo_plan(folder: Path) -> None:
    plan_file.write(make_plan(compose([])), folder / "plan.json")


def _empty_plan(folder: Path) -> None:
    (folder / "plan.json").write_text("{}")


def _profile(text: str | bytes) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        (folder / "cluster").mkdir()
        content = text if isinstance(text, bytes) else text.encode()
        (folder / "cluster" / "mine.yaml").write_bytes(content)

    return prepare


COMMAND_LINE = [
    BadInput("verb misspelt", "trian model=demo", "trian", ("train", "bench", "report")),
    BadInput("verb forgotten", "model=demo", "model=demo", ("plan",)),
    BadInput("option unknown", "plan --jsn", "plan --jsn", ("--json",)),
    BadInput("rows of layouts", "plan search --top few", "plan search --top", ("few", "all")),
    BadInput("an order that is none", "plan search --by luck", "plan search --by", ("luck", "time", "cost")),
    BadInput(
        "a search over models",
        "plan search model=demo,gpt3_125m",
        "model",
        ("demo,gpt3_125m", "resources.nodes"),
    ),
    BadInput("no devices", "plan search resources.nodes=0,8", "resources.nodes", ("0",)),
    BadInput(
        "a search without end", "plan search resources.nodes=interval(1,8)", "resources.nodes", ("commas",)
    ),
    BadInput("a picture without times", "plan search --picture layouts.png", "--picture", ("local", "fp32")),
    BadInput(
        "a layout that fits nowhere",
        "plan search model=gpt3_175b data=stdlib data.allow_large_models=true cluster=h100_cloud resources.nodes=1,2",
        "resources.nodes",
        ("16", "3%"),
    ),
    BadInput(
        "automatic where nothing fits",
        "plan model=gpt3_175b data=stdlib data.allow_large_models=true cluster=h100_cloud parallelism=auto",
        "resources.nodes",
        ("8", "3%"),
    ),
    BadInput("automatic what cannot be", "plan model.num_layers=auto", "model.num_layers", ("auto",)),
    BadInput(
        "layouts that contradict themselves",
        "plan parallelism=auto parallelism.use_distributed_optimizer=false "
        "parallelism.data_parallel_sharding_strategy=optim_grads",
        "parallelism.use_distributed_optimizer",
        ("false", "parallelism.data_parallel_sharding_strategy=optim_grads", "true"),
    ),
    BadInput("rows of ranks", "plan --ranks few", "plan --ranks", ("few", "all")),
    BadInput("not an override", "plan training.steps", "training.steps", ("key=value",)),
    BadInput("bracket left open", "plan data.split=[1,0", "data.split=[1,0", ("0", "[1,0")),
    BadInput("sign of Hydra's in a value", "plan run.dir=a/lr=1", "run.dir=a/lr=1", ('run.dir="a/lr=1',)),
    BadInput("the same in a sweep", "launch -m run.dir=a/lr=1", "run.dir=a/lr=1", ('run.dir="a/lr=1',)),
    BadInput(
        "a comma without a sweep", "plan run.dir=a,b", "run.dir=a,b", ("-m", "[a", "b]", 'run.dir="a,b')
    ),
    BadInput("cluster misspelt", "clusters lumi", "clusters lumi", ("lumi_g", "juwels_booster")),
    BadInput("two clusters", "clusters lumi_g juwels_booster", "clusters", ("2", "NAME")),
    BadInput("no folder of profiles", "clusters --config-dir nowhere", "--config-dir", ("nowhere",)),
    BadInput(
        "a profile with a typo",
        "clusters mine --config-dir .",
        "cluster/mine.yaml: cluster.nodse",
        ("nodes",),
        _profile("defaults: [slurm, _self_]\nname: mine\nnodse: 3\n"),
    ),
    BadInput(
        "a torn profile",
        "plan --config-dir . cluster=mine",
        "FOLDER/cluster/mine.yaml",
        ("mine.yaml", "1"),
        _profile("defaults: [a\n"),
    ),
    BadInput(
        "a profile in another encoding",
        "plan --config-dir . cluster=mine",
        "FOLDER/cluster/mine.yaml",
        ("UTF-8", "0xe9"),
        _profile(b"defaults: [slurm, _self_]\nname: \xe9\n"),
    ),
    BadInput(
        "a profile that is no section",
        "plan --config-dir . cluster=mine",
        "FOLDER/cluster/mine.yaml",
        (),
        _profile("3"),
    ),
    BadInput(
        "a profile that is a list",
        "clusters mine --config-dir .",
        "cluster/mine.yaml",
        (),
        _profile("- a\n"),
    ),
    BadInput(
        "a profile whose key is nothing",
        "plan --config-dir . cluster=mine",
        "FOLDER/cluster/mine.yaml",
        (),
        _profile("null: 2\n"),
    ),
    BadInput(
        "a profile derived from itself",
        "plan --config-dir . cluster=mine",
        "configuration",
        ("defaults",),
        _profile("defaults: [mine]\n"),
    ),
    BadInput(
        "a profile that contains itself",
        "clusters mine --config-dir .",
        "configuration",
        ("aliases",),
        _profile("a: &a {b: *a}\n"),
    ),
    BadInput(
        "a profile that says a thing twice",
        "clusters mine --config-dir .",
        "FOLDER/cluster/mine.yaml",
        ("3",),
        _profile("defaults: [slurm, _self_]\nname: mine\nname: again\n"),
    ),
    BadInput("config folder of an empty variable", "plan --config-dir=", "--config-dir", ()),
    BadInput("a pickled job", "plan --experimental-rerun=job.pickle", "plan --experimental-rerun", ()),
    BadInput("an override of nothing", "plan =3", "=3", ("key=value",)),
    BadInput("a deletion of nothing", "plan ~", "~", ()),
    BadInput("a group of nothing", "plan model=null", "model=null", ("model=CHOICE",)),
    BadInput("image action misspelt", "image bild", "image bild", ("build", "verify")),
    BadInput("image of no variant", "image build --dry-run --variant gpu", "image --variant gpu", ()),
    BadInput("image inspection to rehearse", "image inspect a.sif --dry-run", "image inspect --dry-run", ()),
    BadInput(
        "image of no engine", "image build --engine dokcer", "image build --engine", ("dokcer", "podman")
    ),
    BadInput(
        "image from nowhere", "image build --context .", "image", ("--context", "Dockerfile", "checkout")
    ),
    BadInput(
        "image offline without wheels",
        "image build --variant cuda --offline --dry-run",
        "image build --offline",
        ("--wheels", "DIR"),
    ),
    BadInput(
        "SIF by tag",
        "image sif --dry-run docker://a/b:latest",
        "image sif docker://a/b:latest: a registry's image is taken by digest, docker://NAME@sha256:...",
        (),
    ),
    BadInput("SIF of no archive", "image sif gone.tar", "image sif", ("gone.tar",)),
    BadInput("nothing to verify", "image verify", "image verify", ()),
    BadInput("half a digest", "image verify a.sif --digest sha256:12", "image --digest", ("sha256:12", "64")),
    BadInput("an option of another action", "image sign a.sif --gzip", "image sign --gzip", ()),
    BadInput(
        "doctor of no job", "doctor --collectives resources.nodes=2", "doctor --collectives", ("2", "srun")
    ),
    BadInput("doctor in no time", "doctor --timeout never", "doctor --timeout", ("never", "seconds")),
    BadInput("doctor of no tree", "doctor --root nowhere", "doctor --root", ("nowhere",)),
    BadInput("doctor of no run", "doctor --plan plan.json", "plan.json", ()),
    BadInput(
        "sweep without -m", "plan training.steps=1,2", "training.steps=1,2", ("training.steps", "--multirun")
    ),
    BadInput("config folder missing", "plan --config-dir nowhere", "configuration", ("nowhere",)),
    BadInput("plan file missing", "train --plan plan.json", "plan.json", ()),
    BadInput(
        "plan file of something else",
        "train --plan plan.json",
        "plan.json",
        (),
        _empty_plan,
    ),
    BadInput(
        "plan file and overrides",
        "train --plan plan.json model=demo",
        "model=demo",
        ("KEY=JSON",),
        _demo_plan,
    ),
]

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
        "a fused optimizer that has no matrices",
        "train optimizer=muon kernels.optimizer=te",
        "kernels.optimizer",
        ("te", "optimizer.name=muon", "null"),
    ),
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

LAUNCH = [
    BadInput("option of launch", "launch --sumbit cluster=slurm", "launch --sumbit", ()),
    BadInput("a chain of words", "launch --chain many cluster=slurm", "launch --chain", ("many",)),
    BadInput("a chain of none", "launch --chain 0 cluster=slurm", "launch.chain", ("0",)),
    BadInput("no image to submit", "launch --submit cluster=slurm", "launch.image", ("slipway.sif",)),
    BadInput(
        "a workdir that is relative",
        "launch cluster=slurm launch.workdir=here",
        "launch.workdir",
        (),
    ),
    BadInput(
        "a folder that no bind can name",
        "launch cluster=slurm run.dir=/a:b/c",
        "run.dir",
        ("/a:b/c",),
    ),
    BadInput("several nodes on this machine", "launch resources.nodes=2", "resources.nodes", ("2", "local")),
    BadInput(
        "a sweep with a mistake in its third job",
        "launch -m cluster=slurm training.seed=1,2,x",
        "job 2 (training.seed=x): training.seed",
        ("x",),
    ),
    BadInput(
        "a sweep of several shapes",
        "launch -m cluster=slurm resources.devices_per_node=1,2",
        "resources.devices_per_node",
        ("1", "2"),
    ),
    BadInput(
        "a sweep into one folder",
        "launch -m cluster=slurm training.seed=1,2 run.dir=runs/one",
        "job 0 (training.seed=1): run.dir",
        ("runs/one",),
    ),
    BadInput(
        "a sweep over two clusters",
        "launch -m cluster=slurm,local training.seed=1",
        "sweep",
        (),
    ),
]

PLACEMENT = [
    BadInput("no account", "launch cluster=juwels_booster", "launch.account", ("juwels_booster", "PROJECT")),
    BadInput(
        "more nodes than the queue takes",
        "launch cluster=juwels_booster launch.account=a resources.nodes=500 launch.partition=booster",
        "resources.nodes",
        ("500", "384", "launch.partition=largebooster"),
    ),
    BadInput(
        "longer than the queue allows",
        "launch cluster=lumi_g launch.account=a launch.time_limit=4-00:00:00",
        "launch.time_limit",
        ("5760 min", "96", "72", "small-g"),
    ),
    BadInput(
        "a partition that is not there",
        "launch cluster=juwels_booster launch.account=a launch.partition=boster",
        "launch.partition",
        ("boster", "booster", "largebooster"),
    ),
    BadInput(
        "a Kubernetes option on Slurm",
        "launch cluster=slurm launch.kind=jobset",
        "launch.kind",
        ("jobset",),
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

STEP_10 = Path("runs/demo/checkpoints/step-00000010")


def _checkpoint(**changes: object) -> Callable[[Path], None]:
    """A checkpoint of the demo at step 10, with these fields of slipway.json changed (shape: some fields)."""

    def prepare(folder: Path) -> None:
        config = compose([])
        shape = {**models.shape(config), **changes.pop("shape", {})}  # type: ignore[dict-item]
        info = {
            "step": 10,
            "updates": 10,
            "data": DataLedger.begin(1234, {"stdlib": 1}, {}).advance(160).model_dump(),
            "world_size": 1,
            "parallelism": config.parallelism.model_dump(mode="json"),
            "precision": "fp32",
            "versions": {},
        }
        (folder / STEP_10).mkdir(parents=True)
        (folder / STEP_10 / "slipway.json").write_text(json.dumps({**info, "shape": shape, **changes}))
        (folder / STEP_10 / ".metadata").write_bytes(an_index({}))
        _list_files(folder / STEP_10)

    return prepare


def _no_info(folder: Path) -> None:
    (folder / STEP_10).mkdir(parents=True)


def _half_an_info(folder: Path) -> None:
    _checkpoint()(folder)
    path = folder / STEP_10 / "slipway.json"
    path.write_bytes(path.read_bytes()[:40])


def _planted_index(folder: Path) -> None:
    """An index whose unpickling would create a file, and a manifest made to fit it."""
    _checkpoint()(folder)
    (folder / STEP_10 / ".metadata").write_bytes(b"cposix\nsystem\n(S'touch owned'\ntR.")
    _list_files(folder / STEP_10)


def _no_index(folder: Path) -> None:
    _checkpoint()(folder)
    (folder / STEP_10 / ".metadata").unlink()


def _list_files(checkpoint: Path) -> None:
    manifest = checkpoint / checkpoint_manifest.FILE
    manifest.write_text(checkpoint_manifest.make(checkpoint).text())


def _file_in_the_way(folder: Path) -> None:
    (folder / "runs").write_text("")


TRAINING = [
    BadInput(
        "two nodes, no launcher",
        "train resources.nodes=2",
        "resources.nodes",
        ("2", "srun", "1"),
    ),
    BadInput(
        "a cluster's GPUs on a machine without one",
        "train cluster=juwels_booster resources.devices_per_node=4",
        "cluster.device.kind",
        ("juwels_booster", "GPU", "cluster=local"),
    ),
    BadInput("a file where the run goes", "train", "run.dir", ("runs/demo", "runs"), _file_in_the_way),
    BadInput(
        "the only checkpoint is empty",
        "train",
        "run.dir",
        ("step-00000010", "manifest.json"),
        _no_info,
    ),
    BadInput(
        "the only checkpoint is torn",
        "train",
        "run.dir",
        ("slipway.json", "40"),
        _half_an_info,
    ),
    BadInput(
        "checkpoint of another model",
        "train",
        "model.hidden_size",
        ("128", "256", "step-00000010", "run.dir"),
        _checkpoint(shape={"hidden_size": 256}),
    ),
    BadInput(
        "checkpoint in another precision",
        "train",
        "training.precision",
        ("fp32", "bf16", "step-00000010"),
        _checkpoint(precision="bf16"),
    ),
    BadInput(
        "checkpoint of another optimizer",
        "train optimizer=muon",
        "optimizer.name",
        ("muon", "adamw", "step-00000010", "run.dir"),
        _checkpoint(optimizer="adamw"),
    ),
    BadInput(
        "checkpoint of another optimizer than AdamW",
        "train",
        "optimizer.name",
        ("adamw", "muon", "step-00000010", "run.dir"),
        _checkpoint(optimizer="muon"),
    ),
    BadInput(
        "fewer steps than done",
        "train training.steps=5 optimizer.lr_warmup_steps=0",
        "training.steps",
        ("5", "10"),
        _checkpoint(),
    ),
    BadInput("the only checkpoint has no index", "train", "run.dir", ("metadata",), _no_index),
    BadInput("planted payload", "train", "run.dir", ("metadata", "posix.system"), _planted_index),
]

ROWS = [*COMMAND_LINE, *KEYS_AND_VALUES, *LAYOUT, *LAUNCH, *PLACEMENT, *SCHEDULE_AND_DATA, *TRAINING]
