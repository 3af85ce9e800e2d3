"""What users get wrong on the command line, in folders of profiles and in plan files: rows of the table."""

from collections.abc import Callable
from pathlib import Path

from bad_inputs import BadInput
from slipway.config.compose import compose
from slipway.plan import make_plan, plan_file


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


ROWS = [
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
