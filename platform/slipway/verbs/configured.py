"""The verbs that take a configuration, and the options that all of them share."""

from pathlib import Path

from slipway.verbs import values
from slipway.verbs.declare import Option, Verb

JSON = Option("--json", "print JSON", effect="answers")
HELP = Option("--help", "print this help", short="-h", effect="answers")

# Read by Hydra, not by the verb.
HYDRA = (
    Option(
        "--cfg", "print the composed configuration and stop", "job|hydra|all", short="-c", effect="answers"
    ),
    Option("--resolve", "with --cfg: replace every ${...} by its value"),
    Option("--package", "with --cfg: print only this section", "GROUP", short="-p"),
    Option("--info", "print how the configuration was composed and stop", short="-i", effect="answers"),
    Option(
        "--multirun",
        "run a sweep: comma-separated values, choice(), range(); each job is a run of its own",
        short="-m",
    ),
    Option(
        "--config-dir",
        "look for groups in DIR first: your own models, clusters, experiments",
        "DIR",
        short="-cd",
    ),
)

# Options that need no verb.
GENERAL = (
    HELP,
    Option("--version", "print the version", effect="answers"),
    Option("--hydra-help", "print Hydra's own help", effect="answers"),
    Option(
        "--shell-completion",
        "install=SHELL prints the script for bash or fish",
        short="-sc",
        effect="answers",
    ),
)


def _doctor_checks() -> str:
    from slipway.doctor.finding import CHECKS

    return "checks:\n" + "\n".join(f"  {check.name:<17} {check.line}" for check in CHECKS)


SEARCH = Verb(
    "list all layouts that fit, best first, and why the others do not; tries every value of resources.nodes",
    (
        Option("--json", "print JSON: layouts, best first; rejected, counted by reason", effect="answers"),
        Option(
            "--by",
            "order by time (default: seconds of a step) or cost (device-hours)",
            "WHAT",
            default="time",
            choices=("time", "cost"),
        ),
        Option("--top", "show N layouts (default 10; with --json all)", "N|all", values.row_count, 0),
        Option(
            "--all",
            "show every microbatch size, sharding and recomputation of an arrangement of ranks, not only the best",
        ),
        Option("--picture", "write a picture of time against memory (PNG)", "FILE", Path),
    ),
    examples="""\
  slipway plan search model=llama3_70b cluster=h100_cloud resources.nodes=16,32,64 --by cost
  slipway plan search model=gpt3_175b cluster=h100_cloud resources.nodes=128 --picture layouts.png \\
      parallelism.tensor_model_parallel_size=4,8 training.recompute=selective""",
)

_CHECKPOINT = (Option("--step", "use only the checkpoint of this step", "N", int), JSON)

CONFIGURED = {
    "data": Verb(
        "prepare the data that training reads",
        takes="configuration",
        acts=True,
        examples="""\
  slipway data                                         the default: Python's standard library
  slipway data data=files data.sources.files.inputs=[corpus/,more.jsonl.zst]
  slipway data data=bytes""",
    ),
    "plan": Verb(
        "show what a configuration amounts to: ranks, memory, FLOP, time; needs no GPU",
        alone="show the plan of a configuration",
        actions={"search": SEARCH},
        options=(
            Option("--json", "print the plan as JSON, as plan.json holds it", effect="answers"),
            Option(
                "--ranks",
                "show N rows of the table of ranks (default 32, the middle omitted)",
                "N|all",
                values.rank_count,
                32,
            ),
        ),
        takes="configuration",
        examples="""\
  slipway plan model=gpt3_175b cluster=h100_cloud resources.nodes=128 \\
      data=files data.sources.files.inputs=[texts/]
  slipway plan model=llama3_8b cluster=juwels_booster resources.nodes=8 parallelism=tp4_pp2 \\
      data=files data.sources.files.inputs=[texts/] training.tokens=300e9
  slipway plan experiment=demo --json
  slipway plan search model=gpt3_175b cluster=juwels_booster resources.nodes=64,128,256""",
    ),
    "kernels": Verb(
        "show which backend computes each operator on this machine, and why",
        (JSON,),
        takes="configuration",
        examples="""\
  slipway kernels cluster=juwels_booster model=llama3_8b data=stdlib    on a node with its GPUs
  slipway kernels kernels.attention=torch --json""",
    ),
    "train": Verb(
        "train, validate, write checkpoints and metrics; run it again to resume",
        (
            Option(
                "--dry-run", "check and show the plan without training or writing anything", effect="answers"
            ),
            Option(
                "--plan",
                "train the plan in a plan.json, as jobs carry it, changed by KEY=JSON overrides",
                "FILE",
                Path,
            ),
        ),
        takes="configuration",
        acts=True,
        examples="""\
  slipway train experiment=demo
  slipway train model=demo resources.devices_per_node=4 parallelism.tensor_model_parallel_size=2 \\
      parallelism.pipeline_model_parallel_size=2 training.steps=20 run.dir=runs/first
  slipway train -m optimizer.lr=1e-3,3e-3 training.steps=50""",
    ),
    "launch": Verb(
        "render the Slurm script or Kubernetes manifests of a run or sweep; --submit submits them",
        (
            Option(
                "--submit",
                "call sbatch or kubectl once; without it, print what they would receive (a dry run)",
                effect="acts",
            ),
            Option(
                "--chain",
                "run at most N segments, in jobs that resume one another (launch.chain=N)",
                "N",
                int,
            ),
            Option(
                "--evaluate",
                "instead of training, run `slipway evaluate` "
                "with these words on the run's checkpoints, in a job of one device",
                "WORDS",
            ),
            Option(
                "--preflight", "run `slipway doctor` on all nodes before training (launch.preflight=true)"
            ),
        ),
        takes="configuration",
        examples="""\
  slipway launch cluster=juwels_booster launch.account=PROJECT resources.nodes=8 model=gpt3_1_3b \\
      data=files data.sources.files.inputs=[texts/]              print the script
  slipway launch cluster=juwels_booster launch.account=PROJECT ... --submit --chain 20 --preflight
  slipway launch cluster=gke resources.nodes=4 launch.image=registry.example/slipway:cuda launch.kind=jobset
  slipway launch -m optimizer.lr=1e-4,3e-4 cluster=lumi_g launch.account=PROJECT     one array for the sweep""",
    ),
    "checkpoint": Verb(
        "list, verify or show the checkpoints of a run",
        actions={
            "list": Verb(
                "list steps, sizes, layouts, and any damage that sizes and the index reveal", _CHECKPOINT
            ),
            "verify": Verb(
                "compare every file with its checksum; exit code 1 if one is damaged", _CHECKPOINT
            ),
            "show": Verb("show what the newest one (or --step N) records about itself", _CHECKPOINT),
        },
        takes="configuration",
        examples="""\
  slipway checkpoint list run.dir=runs/demo
  slipway checkpoint verify run.dir=runs/demo --step 80
  slipway checkpoint show run.dir=runs/demo --json""",
    ),
    "proposal": Verb(
        "write the technical part of an application for computer time: Markdown and PDF",
        (
            Option(
                "--scaling",
                "read the measured scaling from FILE (default: outputs/bench/scaling/bench-scaling.json)",
                "FILE",
                Path,
                Path("outputs/bench/scaling/bench-scaling.json"),
            ),
            Option("--runs", "apply for N runs of this plan (default 1)", "N", int, 1),
            Option("--reserve", "add P per cent of computer time as a reserve (default 0)", "P", float, 0.0),
            Option(
                "--answers",
                "read what only you know from a YAML file of NAME: text; the command prints the NAMEs",
                "FILE",
                Path,
            ),
            Option(
                "--out",
                "write proposal.md, proposal.pdf and the plot into DIR (default: outputs/proposal)",
                "DIR",
                Path,
                Path("outputs/proposal"),
            ),
        ),
        takes="configuration",
        acts=True,
        notes=lambda: (
            "Writes what follows from the plan and the measurement: software, model, data, devices, device-hours,\n"
            "memory, checkpoints, storage, transfers, scalability, EuroHPC's access mode.\n"
            "What only you know is marked as a gap; fill it with --answers."
        ),
        examples="""\
  slipway bench scaling cluster=juwels_booster launch.account=PROJECT model=gpt3_1_3b --nodes 1,2,4,8 --submit
  slipway proposal cluster=juwels_booster model=gpt3_1_3b resources.nodes=8 \\
      data=files data.sources.files.inputs=[texts/] --runs 3 --reserve 20""",
    ),
    "doctor": Verb(
        "check this machine, or every node of a job, and suggest fixes",
        (
            Option(
                "--plan",
                "check the run of a plan.json, as jobs carry it, changed by KEY=JSON overrides",
                "FILE",
                Path,
            ),
            Option(
                "--collectives",
                "in a job, also measure which transport collectives use and how fast they are (imports torch)",
            ),
            Option(
                "--json",
                "print JSON: node, nodes, checks (name, status, saw, expected, advice, node), left_out",
                effect="answers",
            ),
            Option(
                "--bad-nodes", "print only the names of the nodes to exclude, one per line", effect="answers"
            ),
            Option(
                "--timeout",
                "wait S seconds for all ranks to answer, and as long again for the collectives (default 180)",
                "S",
                values.seconds,
                180.0,
            ),
            Option(
                "--root", "read /proc, /sys and /dev below DIR: a copied tree of another node", "DIR", Path
            ),
        ),
        takes="configuration",
        acts=True,
        notes=_doctor_checks,
        examples="""\
  slipway doctor cluster=juwels_booster                  on the login node: below a second, no torch
  srun slipway doctor --plan plan.json --collectives       in a job, one task per device: all of its nodes""",
    ),
}
