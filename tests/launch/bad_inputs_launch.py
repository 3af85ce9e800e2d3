"""What users get wrong when they launch: rows of the table in tests/bad_inputs.py."""

from bad_inputs import BadInput

ROWS = [
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
