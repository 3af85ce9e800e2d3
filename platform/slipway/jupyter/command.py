"""`slipway jupyter NAME`: write a Jupyter kernel that runs in the image."""

import argparse
import json
import os
import re
from pathlib import Path

from slipway import files
from slipway.config.cluster import Cluster
from slipway.errors import EXIT_DONE, UserError
from slipway.jupyter import kernel as kernel_files
from slipway.jupyter.kernel import SCRIPT, SPEC, Kernel

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")  # jupyter_client: [A-Za-z0-9._-]+
_NOT_IN_PATHS = re.compile(
    r"[\x00-\x1f\x7f{}\ud800-\udfff]"
)  # Jupyter replaces {names} in the arguments of a kernel.json
_SIF = (32, b"SIF_MAGIC")  # a SIF begins with 32 bytes for a shell, then its own mark


def run(options: argparse.Namespace) -> int:
    """Write the kernel called `name` or, with `dry_run`, print its files. Return the exit code. Raises UserError."""
    from slipway.clusters.profiles import Profiles

    cluster = Profiles(options.config_dir).load(options.cluster)
    kernel = kernel_of(options, cluster)
    texts = {SCRIPT: kernel_files.script(kernel), SPEC: kernel_files.spec(kernel)}
    if options.dry_run:
        for name, text in texts.items():
            print(f"# --- {kernel.folder / name}\n{text}")
        return EXIT_DONE
    write(kernel.folder, texts)
    print(f"wrote the kernel {kernel.name} ({kernel.display_name}) to {kernel.folder}")
    print(f"It runs in {kernel.image}. Reload Jupyter's page, then choose it for a notebook.")
    return EXIT_DONE


def kernel_of(options: argparse.Namespace, cluster: Cluster) -> Kernel:
    """Return the kernel that the options describe on a cluster.

    Raises UserError if the cluster runs pods, or if a name, a path or a bind cannot be used.
    """
    if cluster.kubernetes:
        raise UserError(
            "jupyter --cluster",
            "runs pods, but a kernel needs Apptainer",
            value=options.cluster,
            use="a Slurm cluster, local or local_gpu",
        )
    if not _NAME.fullmatch(options.name):
        raise UserError(
            "jupyter NAME",
            "is not a valid name of a kernel",
            value=options.name,
            use="at most 100 letters, digits and . _ -, of which the first is a letter or a digit",
        )
    shown = options.display_name if options.display_name is not None else f"Slipway ({options.name})"
    if not shown.strip() or not shown.isprintable():
        raise UserError("jupyter --display-name", "cannot be shown", value=shown, use="text on a single line")
    folder = _folder(options.prefix) / "kernels" / options.name
    _check_place(folder)
    return Kernel(
        name=options.name,
        display_name=shown,
        folder=folder,
        image=_image(options.image, cluster.container.image),
        container=cluster.container,
        environment=cluster.environment,
        binds=tuple(_bind(word) for word in options.bind or [str(Path.cwd())]),
        gpu=options.gpu,
    )


def write(folder: Path, texts: dict[str, str]) -> None:
    """Write a kernel's files; Jupyter sees the kernel once the last one, kernel.json, is there. Raises OSError."""
    files.make_folder(folder)
    for name, text in texts.items():
        files.write_whole(folder / name, text)


def _folder(prefix: Path | None) -> Path:
    """Return the directory of Jupyter's data: below the prefix, or else where Jupyter itself looks for the user's."""
    if prefix is not None:
        return prefix.absolute() / "share" / "jupyter"
    if own := os.environ.get("JUPYTER_DATA_DIR"):
        return Path(own).absolute()
    data = os.environ.get("XDG_DATA_HOME")
    return (Path(data) if data else Path.home() / ".local" / "share").absolute() / "jupyter"


def _check_place(folder: Path) -> None:
    """Raise UserError if the files cannot be written, or would replace a kernel that somebody else has made."""
    option = "jupyter --prefix"
    if found := _NOT_IN_PATHS.search(str(folder)):
        raise UserError(
            option,
            f"contains {found[0]!r}, to which Jupyter gives another meaning",
            value=str(folder),
            use="a folder without braces and control characters in its path",
        )
    there = files.nearest_existing(folder)
    if not there.is_dir():
        raise UserError(
            option, "is a file, but the kernel's folder would be there", value=there, use="a folder"
        )
    if not os.access(there, os.W_OK | os.X_OK):
        raise UserError(option, "cannot be written", value=there, use="a folder that you can write to")
    spec = folder / SPEC
    if not spec.exists():
        return
    try:
        ours = "slipway" in json.loads(files.read(spec) or b"")["metadata"]
    except (ValueError, KeyError, TypeError, RecursionError):
        ours = False
    if not ours:
        raise UserError(
            spec, "is a kernel that slipway did not write", do="choose another NAME, or remove it"
        )


def _image(given: Path | None, of_cluster: str) -> Path:
    """Return the absolute path of the SIF. Raises UserError if the file is not a SIF."""
    path = Path(given or of_cluster)
    where = "jupyter --image"
    remedy = "a SIF, as `slipway image sif` makes one"
    if not path.is_file():
        raise UserError(where, "is not a file", value=path, use=remedy)
    offset, mark = _SIF
    with files.opened(path) as file:
        file.seek(offset)
        if file.read(len(mark)) != mark:
            raise UserError(where, "is not a SIF", value=path, use=remedy)
    return path.absolute()


def _bind(word: str) -> str:
    """Return SOURCE[:TARGET[:MODE]] with an absolute source. Raises UserError if it cannot be bound."""
    source, *rest = word.split(":")
    path = Path(source).absolute()
    if (
        "," in str(path)
        or _NOT_IN_PATHS.search(word)
        or len(rest) > 2
        or rest[1:] not in ([], ["ro"], ["rw"])
    ):
        raise UserError(
            "jupyter --bind",
            "cannot be bound",
            value=word,
            use="SOURCE[:TARGET[:ro]], without commas and control characters",
        )
    if not source or not path.exists():
        raise UserError(
            "jupyter --bind", "does not exist", value=word, use="a folder or file of this machine"
        )
    if rest and not rest[0].startswith("/"):
        raise UserError("jupyter --bind", "has a relative target", value=word, use="an absolute TARGET")
    return ":".join([str(path), *rest])
