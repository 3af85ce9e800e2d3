"""Task files of lm-evaluation-harness, read as data: their tasks, the files that they read, and any code in them.

A task file that says `!function`, or names code in another way, is a program from an unknown source: it is not run
unless the user has allowed it. Paths in a task file are relative to it, and must stay in the user's folder.
"""

import glob
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from slipway.errors import UserError

FORMATS = ("json", "csv", "parquet", "text", "arrow")
"""Builders of the datasets library that only read files as data."""
_CODE_FIELDS = {
    "class": "names a class",
    "custom_dataset": "names a function that makes its data",
    "use_prompt": "takes prompts from another package",
    "unsafe_code": "runs what the model writes",
}
_ALLOW = "read it, and the files that it names, and give --allow-code if you trust them"


class Code(str):
    """A name that a task file gives with `!function`."""


@dataclass(frozen=True)
class TaskFile:
    """One YAML file, merged with the files that it includes."""

    path: Path
    config: Mapping[str, Any]
    files: tuple[Path, ...]
    """The file itself and those that it includes."""


class Folder:
    """The task files below a folder."""

    def __init__(self, folder: Path, allow_code: bool, allow_network: bool) -> None:
        """Read the task files below a folder.

        Raises UserError if `folder` is no folder, holds no task files, or two of them have one name.
        """
        self.folder, self.allow_code, self.allow_network = folder.resolve(), allow_code, allow_network
        if not folder.is_dir():
            raise UserError(
                "evaluate --include-path", "is not a folder", value=folder, do="name a folder with task files"
            )
        self.by_name: dict[str, TaskFile] = {}
        self.by_tag: dict[str, list[str]] = {}
        for path in sorted(self.folder.rglob("*.yaml")):
            plain = _parse(path)
            name = plain.get("group", plain.get("task"))
            if not isinstance(name, str):
                continue  # made to be included
            if name in self.by_name:
                other = self.by_name[name].path
                raise UserError(path, f"is named {name!r}, as {other} is", do="rename one of them")
            found = self._with_includes(path, plain, ())
            self.by_name[name] = found
            tags = found.config.get("tag") or []
            for tag in [tags] if isinstance(tags, str) else tags:
                self.by_tag.setdefault(str(tag), []).append(name)
        if not self.by_name:
            raise UserError(
                "evaluate --include-path",
                "contains no task files (*.yaml)",
                value=folder,
                do="name a folder with task files",
            )

    def _with_includes(self, path: Path, plain: dict[str, Any], above: tuple[Path, ...]) -> TaskFile:
        """Merge a file with those that it includes, as lm_eval.tasks._yaml_loader.load_yaml does.

        The file's own keys win. Raises UserError if a file includes itself, or one that is missing or outside of the
        folder.
        """
        include = plain.pop("include", [])
        merged: dict[str, Any] = {}
        files: tuple[Path, ...] = (path,)
        for one in [include] if isinstance(include, str) else include:
            other = (path.parent / str(one)).resolve()
            if other in (*above, path):
                raise UserError(path, f"includes itself, by {one}", do="remove that `include`")
            if not (other.is_relative_to(self.folder) or _is_librarys(other)):
                raise UserError(
                    path,
                    f"includes {one}, which is outside {self.folder}",
                    do="copy that file into the folder",
                )
            if not other.is_file():
                raise UserError(
                    path, f"includes {one}, which does not exist", do="correct the path, or add the file"
                )
            inner = self._with_includes(other, _parse(other), (*above, path))
            merged |= inner.config
            files += inner.files
        return TaskFile(path, {**merged, **plain}, files)

    def leaves(self, name: str) -> Iterator[TaskFile]:
        """Yield the task files that a name stands for, with those of all tasks in a group or tag.

        Yields nothing for a name that is not in this folder.
        """
        if name in self.by_tag and name not in self.by_name:
            for one in self.by_tag[name]:
                yield from self.leaves(one)
            return
        if name not in self.by_name:
            return
        found = self.by_name[name]
        yield found
        for member in members(found.config):
            if isinstance(member, str):
                yield from self.leaves(member)
            elif isinstance(member, dict) and isinstance(member.get("task"), str):
                yield from self.leaves(member["task"])

    def checked(self, name: str) -> list[TaskFile]:
        """Return the task files of a name. Raises UserError if one runs code, or reads data that is missing."""
        found = list(self.leaves(name))
        for one in found:
            if not self.allow_code:
                _refuse_code(one)
            _check_members(one)
            data_files(one, self)
        return found


def _parse(path: Path) -> dict[str, Any]:
    """Return a task file's keys, with Code for `!function`. Raises UserError if it is not YAML or not a mapping."""
    import yaml

    class Loader(yaml.SafeLoader):
        pass

    # lm-evaluation-harness's own files may name functions: they came with the installed library
    kind: type[str] = str if _is_librarys(path) else Code
    Loader.add_constructor("!function", lambda loader, node: kind(getattr(node, "value", "")))
    try:
        plain = yaml.load(path.read_text(encoding="utf-8"), Loader=Loader)
    except OSError as error:
        raise UserError(path, f"cannot be read: {error.strerror}", do="make it readable") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(path, f"is not YAML: {' '.join(str(error).split())}", do="correct it") from error
    if not isinstance(plain, dict):
        raise UserError(
            path,
            "is not a task file: a mapping of keys is expected",
            do="remove it from the folder, or correct it",
        )
    return plain


def _is_librarys(path: Path) -> bool:
    spec = find_spec("lm_eval")
    root = Path(spec.origin).resolve().parent if spec and spec.origin else None
    return root is not None and path.is_relative_to(root)


def members(config: Mapping[str, Any]) -> list[Any]:
    """Return the tasks of a group; empty for anything else."""
    found = config.get("task")
    return found if isinstance(found, list) else []


def _refuse_code(file: TaskFile) -> None:
    """Raise UserError if a task file runs code that is not lm-evaluation-harness's own."""
    for at, value in _values(file.config, ""):
        if isinstance(value, Code):
            raise UserError(file.path, f"runs code: {at} is !function {value}", do=_ALLOW)
    for at, value in _values(file.config, ""):
        field = at.rsplit(".", 1)[-1]
        if field in _CODE_FIELDS and value:
            raise UserError(file.path, f"{_CODE_FIELDS[field]} ({at}), which is code", do=_ALLOW)
        if field == "trust_remote_code" and value:
            raise UserError(file.path, f"runs code of a data set ({at})", do=_ALLOW)
        if field == "hf_evaluate" and value:
            raise UserError(file.path, f"computes a metric by code from elsewhere ({at})", do=_ALLOW)


def _check_members(file: TaskFile) -> None:
    """Raise UserError if a group says where a task's data is, since that is not checked here."""
    for member in members(file.config):
        if isinstance(member, dict) and (found := {"dataset_path", "dataset_kwargs"} & member.keys()):
            raise UserError(
                file.path, f"sets {found.pop()} of one of its tasks", do="set it in a task file of that task"
            )


def _values(value: Any, at: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _values(inner, f"{at}.{key}" if at else str(key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _values(inner, f"{at}[{number}]")
    else:
        yield at, value


def metrics(file: TaskFile) -> list[str]:
    """Return the names of the metrics in a task file."""
    listed = file.config.get("metric_list") or []
    return [str(one["metric"]) for one in listed if isinstance(one, dict) and "metric" in one]


def data_files(file: TaskFile, folder: Folder) -> dict[str, list[str]] | None:
    """Return the absolute paths of the task's data files by split; None if it names no data files.

    Raises UserError if the source is refused or a file is missing.
    """
    path, kwargs = file.config.get("dataset_path"), file.config.get("dataset_kwargs") or {}
    named = kwargs.get("data_files") if isinstance(kwargs, dict) else None
    if isinstance(path, str) and not _is_librarys(file.path):
        _check_source(file, path, named is not None, folder)
    if named is None:
        return None
    by_split = named if isinstance(named, dict) else {"train": named}
    return {
        str(split): [
            found
            for entry in (of_split if isinstance(of_split, list) else [of_split])
            for found in _resolved(file, str(entry), folder)
        ]
        for split, of_split in by_split.items()
    }


def _check_source(file: TaskFile, path: str, has_files: bool, folder: Folder) -> None:
    if path in FORMATS or folder.allow_code:
        return
    local = (file.path.parent / path).exists()
    if path.endswith(".py") or local or "/" not in path or has_files:
        what = "a script or folder" if path.endswith(".py") or local else "no format of data files"
        raise UserError(
            file.path,
            f"dataset_path is {what}",
            value=path,
            use=f"{', '.join(FORMATS)} with data_files, or the name of a data set, OWNER/NAME",
        )


def _resolved(file: TaskFile, entry: str, folder: Folder) -> list[str]:
    """Return the paths that an entry of data_files stands for.

    Raises UserError if the entry is on the network without permission, outside of the folder, or missing.
    """
    if "://" in entry or entry.startswith("hf:"):
        if folder.allow_network:
            return [entry]
        raise UserError(
            file.path, "reads data over the network", value=entry, do="give --allow-network, or a copy of it"
        )
    path = Path(entry).expanduser()
    if not path.is_absolute():
        path = (file.path.parent / path).resolve()
        if not path.is_relative_to(folder.folder):
            raise UserError(
                file.path, f"reads data outside {folder.folder}", value=entry, use="an absolute path"
            )
    found = sorted(glob.glob(str(path), recursive=True)) if glob.has_magic(entry) else [str(path)]
    if not found or not all(Path(one).is_file() for one in found):
        raise UserError(
            file.path,
            f"data_files: does not exist (looked for {path})",
            value=entry,
            do="put it beside the task file, or write its absolute path",
        )
    return found


def digest(files: list[TaskFile], folder: Folder) -> str:
    """Return the SHA-256 of the task files and of the data files that they read, in hexadecimal."""
    every: dict[str, bytes] = {}
    for file in files:
        named = data_files(file, folder) or {}
        for path in (*file.files, *(Path(one) for of in named.values() for one in of if "://" not in one)):
            with path.open("rb") as opened:
                every[str(path)] = hashlib.file_digest(opened, "sha256").digest()
    return hashlib.sha256(b"".join(every[name] for name in sorted(every))).hexdigest()
