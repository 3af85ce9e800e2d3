"""What `--help` says. Reads the names in conf/, imports nothing heavy."""

from pathlib import Path

VERBS = {
    "data": "turn text into token files that training reads",
    "plan": "show what follows from a configuration: ranks, memory, FLOP, time; needs no GPU",
    "kernels": "which backend computes what on this machine: Transformer Engine, apex, torch; and why",
    "train": "train, validate, write checkpoints and metrics; run again, it continues",
    "launch": "what Slurm or Kubernetes is given for a run, or a sweep; with --submit, given to it",
    "checkpoint": "list, verify or show the checkpoints of a run",
    "report": "the loss curve and the figures of a run",
    "doctor": "is this machine, or every node of this job, fit to train; what to do where it is not",
    "runs": "what became of each run: state, progress, segments, device-hours; logs, and the end, of launched ones",
    "clusters": "the machines that cluster=NAME can name: queues, limits, rules, what is unverified",
    "image": "build, test, sign and verify the container image, for Docker, podman and Apptainer",
    "bench": "measure this machine against references",
}

_GENERAL = """\
Slipway trains foundation models with Megatron-core: the same run on a laptop, Slurm or Kubernetes.

usage: slipway VERB [options] [override ...]

{verbs}

A configuration is composed from named choices and single values (Hydra overrides):
  model=gpt3_125m          take a choice of the group `model`
  experiment=demo          take a whole set of choices and values
  training.steps=1000      set one value
  +data.sources.mine.inputs=[a.txt]   add a key;  ~key deletes one
  -m optimizer.lr=1e-3,1e-4           run a sweep, one run for each combination

A first run:
  slipway plan  experiment=demo        what it will do, on which rank, in how much memory
  slipway train experiment=demo        do it, in runs/demo
  slipway report run.dir=runs/demo     its loss curve

More:
  slipway VERB --help                  the verb's options and all choices
  slipway VERB --cfg job [overrides]   the composed configuration; with --resolve, its final values
  eval "$(slipway -sc install=bash)"   completion of verbs, groups and keys (also fish)
  slipway --version, --hydra-help

Exit code 0: done; 1: fault; 2: a mistake in what was asked, told in one line, nothing written;
75: training stopped well before its end (signal, wall time): the same command continues."""

_OPTIONS = {
    "data": "",
    "plan": """\
  --json            print the plan as JSON, as it is kept in plan.json
  --ranks N|all     rows of the table of ranks (default 32, the middle left out)
""",
    "kernels": """\
  --json            print JSON
""",
    "train": """\
  --dry-run         check and show the plan; train nothing, write nothing
  --plan FILE       train the plan in a plan.json, as jobs carry it, changed by KEY=JSON words; nothing is composed
""",
    "launch": """\
  --submit          call sbatch or kubectl, once; without it: print what it would be given (a dry run)
  --chain N         segments at most: jobs that continue the run (launch.chain=N)
  --preflight       `slipway doctor` on all nodes before the training (launch.preflight=true)
""",
    "checkpoint": """\
  list              steps, sizes, layouts; what is damaged as far as sizes and the index tell
  verify            compare every file with its checksum; exit code 1 where one is damaged
  show              what the newest one (or --step N) says of itself
  --step N          only the checkpoint of this step
  --json            print JSON
""",
    "report": "",
    "doctor": """\
  --plan FILE       the run of a plan.json, as jobs carry it, changed by KEY=JSON words
  --collectives     in a job: also which way collectives take and how fast they are (imports torch)
  --json            print JSON: node, nodes, checks (name, status, saw, expected, advice, node), left_out
  --bad-nodes       print only the names of the nodes to leave out, one per line
  --timeout S       seconds for all ranks to answer, and again for the collectives (default 180)
  --root DIR        read /proc, /sys and /dev below DIR: to look at the copied tree of another node
""",
}

_HYDRA_OPTIONS = """\
  --cfg job|hydra|all   print the composed configuration (with --resolve, --package GROUP) and stop
  --info                print how it was composed and stop
  -m, --multirun        run a sweep: comma-separated values, choice(), range(); each job is a run of its own
  --config-dir DIR      search DIR for groups before conf/: your own models, clusters, experiments"""

_EXAMPLES = {
    "data": """\
  slipway data                                         the default: Python's standard library
  slipway data data=files data.sources.files.inputs=[corpus/,more.jsonl.zst]
  slipway data data=bytes""",
    "plan": """\
  slipway plan experiment=gpt3_175b
  slipway plan model=llama3_8b cluster=juwels_booster resources.nodes=8 resources.devices_per_node=4 \\
      parallelism=tp4_pp2 training.precision=bf16
  slipway plan experiment=demo --json""",
    "kernels": """\
  slipway kernels cluster=juwels_booster model=llama3_8b    on a node with its GPUs
  slipway kernels kernels.attention=torch --json""",
    "train": """\
  slipway train experiment=demo
  slipway train model=demo resources.devices_per_node=4 parallelism.tensor_model_parallel_size=2 \\
      parallelism.pipeline_model_parallel_size=2 training.steps=20 run.dir=runs/first
  slipway train -m optimizer.lr=1e-3,3e-3 training.steps=50""",
    "launch": """\
  slipway launch cluster=juwels_booster launch.account=PROJECT resources.nodes=8 model=llama3_8b \\
      parallelism=tp4_pp2 training.precision=bf16                        print the script
  slipway launch cluster=juwels_booster launch.account=PROJECT ... --submit --chain 20 --preflight
  slipway launch cluster=gke resources.nodes=4 launch.image=REGISTRY/slipway@sha256:... launch.kind=jobset
  slipway launch -m optimizer.lr=1e-4,3e-4 cluster=lumi_g launch.account=PROJECT     one array for the sweep""",
    "checkpoint": """\
  slipway checkpoint list run.dir=runs/demo
  slipway checkpoint verify run.dir=runs/demo --step 80
  slipway checkpoint show run.dir=runs/demo --json""",
    "report": """\
  slipway report run.dir=runs/demo""",
    "doctor": """\
  slipway doctor cluster=juwels_booster                  on the login node: below a second, no torch
  srun slipway doctor --plan plan.json --collectives       in a job, one task per device: all of its nodes""",
}


def general() -> str:
    """The text of `slipway --help`."""
    return _GENERAL.format(verbs="\n".join(f"  {verb:<10} {text}" for verb, text in VERBS.items()))


def of_verb(verb: str) -> str:
    """The text of `slipway VERB --help`: options, groups and their choices, examples."""
    from slipway.config.compose import conf_dir

    groups = "\n".join(
        f"  {group + '=':<13} {_wrapped(choices, 16)}" for group, choices in groups_of(conf_dir()).items()
    )
    checks = f"checks:\n{_checks()}\n\n" if verb == "doctor" else ""
    return (
        f"slipway {verb}: {VERBS[verb]}\n\n"
        f"usage: slipway {verb} [options] [override ...]\n\n"
        f"options:\n{_OPTIONS[verb]}{_HYDRA_OPTIONS}\n\n"
        f"{checks}"
        f"groups and choices:\n{groups}\n\n"
        f"single values (`slipway {verb} --cfg job` lists all):\n"
        "  run. resources. training. validation. checkpoint. and the keys of each group\n\n"
        f"examples:\n{_EXAMPLES[verb]}"
    )


def _checks() -> str:
    from slipway.doctor.finding import CHECKS

    return "\n".join(f"  {check.name:<17} {check.line}" for check in CHECKS)


def groups_of(folder: Path) -> dict[str, list[str]]:
    """Hydra's groups in a folder of configurations, and the choices of each."""
    return {
        group.name: sorted(file.stem for file in group.glob("*.yaml"))
        for group in sorted(folder.iterdir())
        if group.is_dir()
    }


def _wrapped(words: list[str], indent: int, width: int = 100) -> str:
    lines, line = [], ""
    for word in words:
        if line and len(line) + len(word) + 1 > width - indent:
            lines.append(line)
            line = ""
        line += f" {word}" if line else word
    return f"\n{' ' * indent}".join([*lines, line])
