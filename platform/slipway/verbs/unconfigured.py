"""The verbs that take no configuration, apart from the benchmarks."""

from pathlib import Path

from slipway.verbs import values
from slipway.verbs.configured import JSON
from slipway.verbs.declare import Argument, Option, Verb

_DIR = Option("--dir", "look for runs in DIR (default: runs)", "DIR", Path, Path("runs"))
_RUNS_JSON = Option("--json", "print JSON, with times in Unix seconds", effect="answers")
_NAME = Argument("name", "NAME|DIR")

RUNS = Verb(
    "show each run's state, progress, segments and device-hours; follow, end or upload one",
    (_DIR, _RUNS_JSON),
    alone="list the runs below DIR",
    actions={
        "show": Verb(
            "show one run: its progress, its segments and why each ended", (_DIR, _RUNS_JSON), _NAME
        ),
        "logs": Verb(
            "print the last lines of its log",
            (
                _DIR,
                Option("--follow", "keep printing until the run ends", short="-f"),
                Option("--lines", "print N lines (default 100)", "N", values.natural, 100, short="-n"),
                Option("--rank", "print the log of rank R", "R", values.natural),
            ),
            _NAME,
        ),
        "cancel": Verb(
            "cancel its jobs, running and waiting",
            (
                _DIR,
                Option("--dry-run", "print the commands that would end jobs; run none", effect="answers"),
                Option(
                    "--no-wait",
                    "do not wait until its jobs and pods are gone; until then it cannot be launched again",
                ),
            ),
            _NAME,
            acts=True,
        ),
        "sync": Verb(
            "upload offline wandb data; needs a network and a key",
            (
                _DIR,
                Option("--dry-run", "print the commands that would upload; run none", effect="answers"),
            ),
            _NAME,
            acts=True,
        ),
    },
    notes=lambda: (
        "For runs that `slipway launch --submit` started, the state comes from Slurm or Kubernetes (squeue, sacct,\n"
        "kubectl). Needs no torch."
    ),
    examples="  slipway runs show demo\n  slipway runs logs runs/demo --follow",
)

REPORT = Verb(
    "show what a run achieved, or several side by side: a table, a picture, and a page for a browser",
    (
        _DIR,
        Option(
            "--out",
            "write the page to FILE (default: report.html in the run's folder; for several runs, in the folder above)",
            "FILE",
            Path,
        ),
        JSON,
    ),
    Argument("runs", "RUN", most=None),
    notes=lambda: (
        "RUN is a run's directory, its folder's name or its own name; run.dir=DIR and other overrides name the run of\n"
        "a configuration. The page needs no server and no network. Needs no torch."
    ),
    examples="  slipway report demo\n  slipway report runs/first runs/second --out comparison.html",
)

_CONFIG_DIR = Option(
    "--config-dir",
    "look in DIR/cluster before the shipped profiles: your own (docs/clusters.md)",
    "DIR",
    Path,
    short="-cd",
)

CLUSTERS = Verb(
    "list the machines that cluster=NAME can name: queues, limits, rules, what is not verified",
    (_CONFIG_DIR, JSON),
    Argument("name", "NAME", least=0, group="cluster"),
    notes=lambda: "Asks no scheduler; needs no torch. With a NAME: its limits, its rules, its notes in full.",
    examples="  slipway clusters juwels_booster\n  slipway clusters --config-dir ~/sites",
)

ENGINE = Option(
    "--engine", "use podman or docker (default: whichever is installed)", "NAME", choices=("podman", "docker")
)
CONTEXT = Option("--context", "build from this checkout (default: the current folder)", "DIR", Path)
VARIANT = Option("--variant", "build for cpu (default), cuda or rocm", "NAME", default="cpu")
_PLACE = (
    ENGINE,
    CONTEXT,
    Option("--dir", "keep archives, records and SIFs in DIR (default: dist/image)", "DIR", Path),
    VARIANT,
)
_COMMON = (Option("--dry-run", "print the commands without running them", effect="answers"), *_PLACE)
_KEY = Option(
    "--key",
    "use a PEM key, private to sign and public to verify (default: Apptainer's keyring)",
    "FILE",
    Path,
)
_TARGET = Argument("target", "TARGET")
_SIF = Argument("target", "SIF")

IMAGE = Verb(
    "build, test, sign and verify the container image, for Docker, podman and Apptainer",
    actions={
        "build": Verb(
            "build the image, save it as an archive, record its digest",
            (
                *_COMMON,
                Option("--tag", "name the image (default: slipway:VARIANT)", "NAME"),
                Option(
                    "--base", "build on another base image, best given by digest: NAME@sha256:...", "NAME"
                ),
                Option(
                    "--wheels",
                    "install packages from DIR first (default: pip's find-links, if it has torch for CPU)",
                    "DIR",
                    Path,
                ),
                Option("--offline", "use no network: take everything from --wheels"),
                Option("--torch-index", "take torch for CPU from this package index", "URL"),
                Option(
                    "--apex-source", "build apex from DIR instead of fetching the pinned commit", "DIR", Path
                ),
                Option("--platform", "build for linux/amd64 or linux/arm64", "OS/ARCH"),
                Option("--no-cache", "build every layer anew"),
                Option("--no-archive", "build without saving an archive"),
            ),
            acts=True,
        ),
        "sif": Verb(
            "make a SIF from an archive, a local image, or docker://NAME@sha256:...",
            (
                *_COMMON,
                Option("--out", "write the SIF to FILE (default: beside the archive)", "FILE", Path),
                Option("--gzip", "compress for Apptainers that cannot read zstd; three times slower"),
            ),
            Argument("target", "SOURCE", least=0),
            acts=True,
        ),
        "test": Verb(
            "run the smoke test inside a SIF, or inside an image of this name",
            (
                *_COMMON,
                Option("--gpu", "give it the machine's GPUs", "nvidia|amd", choices=("nvidia", "amd")),
            ),
            _TARGET,
            acts=True,
        ),
        "sbom": Verb(
            "list what is in an archive (CycloneDX and SPDX), by syft",
            _COMMON,
            Argument("target", "ARCHIVE", least=0),
            acts=True,
        ),
        "sign": Verb("sign a whole SIF", (*_COMMON, _KEY), _SIF, acts=True),
        "verify": Verb(
            "check a SIF's signature and the image that it was made from",
            (
                *_COMMON,
                _KEY,
                Option("--digest", "require this image as its origin", "DIGEST"),
                Option("--record", "require the image of this record as its origin", "FILE", Path),
            ),
            _SIF,
        ),
        "inspect": Verb(
            "print labels, digest and versions of a SIF, an archive or a record",
            (*_PLACE, JSON),
            _TARGET,
        ),
    },
    notes=lambda: (
        "Needs no torch.\n"
        "Exit code 0: done, verified; 1: fault, not verified; 2: input refused, or a program is missing."
    ),
    examples="  slipway image build --variant cuda\n  slipway image sif",
)

JUPYTER = Verb(
    "write a Jupyter kernel that runs in the image, under Apptainer",
    (
        Option("--image", "run in this SIF (default: cluster.container.image of the profile)", "FILE", Path),
        Option(
            "--cluster",
            "run the image as this cluster's profile says (default: local)",
            "NAME",
            default="local",
        ),
        _CONFIG_DIR,
        Option(
            "--bind",
            "show notebooks this folder, for example that of your runs; may be repeated (default: the current folder)",
            "SOURCE[:TARGET[:ro]]",
            values.one,
            many=True,
        ),
        Option(
            "--gpu",
            "give it the machine's GPUs (default: as the profile says)",
            "nvidia|amd",
            choices=("nvidia", "amd"),
        ),
        Option(
            "--prefix",
            "write below DIR/share/jupyter, for a project (default: your own ~/.local)",
            "DIR",
            Path,
        ),
        Option("--display-name", "show this name in notebooks (default: `Slipway (NAME)`)", "TEXT"),
        Option("--dry-run", "print the files that would be written; write nothing", effect="answers"),
    ),
    Argument("name", "NAME"),
    acts=True,
    notes=lambda: (
        "NAME is the kernel's folder: kernel.json, which Jupyter reads, and the script that it starts. The same NAME\n"
        "again replaces the kernel. A notebook sees its own folder, those that are bound and the profile's; of the\n"
        "server's environment only which GPUs it has. The image has the kernel, not Jupyter's server. Needs no torch."
    ),
    examples="""\
  slipway jupyter slipway --image slipway-cpu.sif --bind runs/ --dry-run
  slipway jupyter slipway --image slipway-cuda.sif --cluster juwels_booster --prefix /p/project1/PROJECT/.local""",
)
