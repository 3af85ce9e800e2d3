"""The preparation of packed samples from conversations: the steps of `slipway data`, in order."""

import os
import platform
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from slipway import __version__, cores
from slipway.data import prepared, workspace
from slipway.data.chat import manifest
from slipway.data.chat.config import Config as Data
from slipway.data.chat.manifest import LeftOutRecord, Manifest, SourceRecord, TemplateRecord
from slipway.data.chat.shards import Counts, read_counts
from slipway.data.chat.tokenizer import NAMES, SETTINGS, TEMPLATE, TOKENIZER
from slipway.data.chat.workers import encode_block, tokenizer_of
from slipway.data.chat.writing import write_source
from slipway.data.destination import check_destination
from slipway.data.files import FileRecord
from slipway.data.inputs import LeftOut, changed, check_unchanged, describe, fingerprint, is_there
from slipway.data.pool import done, in_order, worker_pool
from slipway.data.progress import Progress, show_progress
from slipway.data.text import inputs
from slipway.data.text.blocks import block_size, cut_into_blocks
from slipway.data.text.inputs import InputFile
from slipway.data.text.manifest import TokenizerRecord
from slipway.data.text.workers import ENVIRONMENT
from slipway.errors import UserError
from slipway.files import flush, write_whole

COUNTED = ("conversations", "tokens")
KINDS = ("jsonl",)


def prepare(data: Data, progress: bool) -> Manifest:
    """Prepare data.dir as `data` asks, and return its manifest; return at once if that is done.

    An interrupted preparation continues. The files do not depend on data.workers. Raises UserError if inputs cannot be
    read, or the folder was prepared with other settings or inputs.
    """
    if manifest.read(data.dir) is not None:
        found = manifest.load(data)
        for change in changed_inputs(data, found):
            raise change.replaced(do=f"choose another data.dir, or remove {data.dir}")
        workspace.remove(data.dir / workspace.NAME)  # of a call that was killed right at its end
        return found
    surveys = {name: inputs.survey(name, source, KINDS) for name, source in data.sources.items()}
    files = {name: found for name, (found, _) in surveys.items()}
    left_out = {name: others for name, (_, others) in surveys.items()}
    check_destination(
        data.dir,
        [f"{name}{end}" for name in data.sources for end in manifest.ENDS],
        {f"data.sources.{name}.inputs": source.inputs for name, source in data.sources.items()},
    )
    for name, others in left_out.items():
        if others:
            _say(f"data.sources.{name}: left out: {describe(others)}")
    total = sum(file.size for of_source in files.values() for file in of_source)
    workers = data.workers or cores.usable()
    with prepared.being_prepared(data.dir), worker_pool(workers, ENVIRONMENT) as pool:
        tokenizer = pool.submit(_described, data).result()
        with (
            workspace.workspace(data.dir, _job(data, files, tokenizer)) as work,
            show_progress(progress, total, COUNTED) as shown,
        ):
            preparation = _Preparation(data, files, left_out, tokenizer, workers, pool, work, shown)
            finished = preparation.run()
            workspace.remove(work)
    for name, record in finished.sources.items():
        for reason, one in record.left_out_conversations.items():
            _say(
                f"data.sources.{name}: left out: {one.count:,} conversations {reason}; the first: {one.first}"
            )
        if record.cut:
            _say(
                f"data.sources.{name}: cut: {record.cut:,} conversations, the longest of {record.longest:,} tokens"
            )
    return finished


def changed_inputs(data: Data, found: Manifest) -> list[UserError]:
    """Return an error for each source whose inputs have changed since they were read.

    Inputs that no longer exist are not compared.
    """
    return [change for name in data.sources if (change := _changed(data, found, name))]


def _changed(data: Data, found: Manifest, name: str) -> UserError | None:
    source = data.sources[name]
    if not all(map(is_there, source.inputs)):
        return None
    return changed(name, lambda: inputs.find_inputs(name, source, KINDS), found.sources[name], data.dir)


class _Described(NamedTuple):
    """A tokenizer, described by a process that has loaded it."""

    entries: int
    special: dict[str, int]
    files: dict[str, str]
    """The text of the tokenizer's files by their names, without the token that ends a turn."""
    template: Path
    """The path from which the template was read."""


def _described(data: Data) -> _Described:
    tokenizer = tokenizer_of(data.tokenizer)
    return _Described(tokenizer.entries, tokenizer.special, tokenizer.files(""), tokenizer.template_path)


def _kept(data: Data, end: str) -> dict[str, str]:
    return tokenizer_of(data.tokenizer).files(end)


@dataclass
class _Preparation:
    data: Data
    files: dict[str, list[InputFile]]
    left_out: dict[str, list[LeftOut]]
    tokenizer: _Described
    workers: int
    pool: ProcessPoolExecutor
    work: Path
    progress: Progress

    def run(self) -> Manifest:
        self.progress.phase("tokens")
        shards: dict[str, list[Path]] = {name: [] for name in self.files}
        counts = {name: Counts() for name in self.files}
        for (name, shard, disk_bytes, fresh), found in in_order(self._submitted(), self.workers + 1):
            shards[name].append(shard)
            counts[name] += found
            self.progress.advance(
                disk_bytes, {"conversations": found.conversations, "tokens": found.tokens}, fresh
            )
        for of_source in self.files.values():
            for file in of_source:
                check_unchanged(file)
        for name, found in counts.items():
            if not found.conversations:
                raise UserError(
                    f"data.sources.{name}",
                    f"has no conversations to train on: {_in_words(found)}",
                    do="give files with conversations, or correct data.sources",
                )
        self.progress.phase("writing")
        return self._commit(shards, counts)

    def _submitted(self) -> Iterator[tuple[tuple[str, Path, int, bool], Future[Counts]]]:
        """Yield each block's label and task, in order; blocks that are done already have a finished task."""
        size = block_size(sum(file.size for of_source in self.files.values() for file in of_source))
        for name, files in self.files.items():
            folder = self.work / name
            folder.mkdir(exist_ok=True)
            for block in cut_into_blocks(files, "", size):
                shard = folder / f"{block.index:06d}.npz"
                found = read_counts(shard)
                yield (
                    (name, shard, block.disk_bytes, found is None),
                    done(found) if found else self.pool.submit(encode_block, block, name, self.data, shard),
                )

    def _commit(self, shards: dict[str, list[Path]], counts: dict[str, Counts]) -> Manifest:
        """Write the files aside, move them into data.dir, the manifest last, and return it."""
        from importlib.metadata import version

        from slipway.data.text.fast_bpe.encode import token_type

        data, entries = self.data, self.tokenizer.entries
        records = {}
        ends, end = _ends(counts.values(), self.tokenizer.template)
        for name, text in self.pool.submit(_kept, data, end).result().items():
            write_whole(self.work / name, text)
            records[name] = FileRecord(bytes=len(text.encode()), sha256=sha256(text.encode()).hexdigest())
        sources = {name: self._source(name, shards[name], counts[name]) for name in data.sources}
        finished = Manifest(
            sequence_length=data.sequence_length,
            split=data.split,
            long=data.long,
            malformed=data.malformed,
            tokenizer=TokenizerRecord(
                kind="file",
                vocab_size=None,
                end_of_document=end,
                end_of_document_id=self.tokenizer.special[end],
                entries=entries,
                file=records[TOKENIZER],
            ),
            template=TemplateRecord(
                date=data.tokenizer.date,
                ends=ends,
                file=records[TEMPLATE],
                settings=records[SETTINGS],
                names=records[NAMES],
            ),
            token_type=token_type(entries).__name__,  # type: ignore[arg-type]
            sources=sources,
            versions={
                "slipway": __version__,
                "python": platform.python_version(),
                **{package: version(package) for package in _PACKAGES},
            },
        )
        write_whole(self.work / prepared.FILE_NAME, manifest.to_text(finished))
        for name in manifest.files(finished):
            os.replace(self.work / name, data.dir / name)
        flush(data.dir)
        os.replace(self.work / prepared.FILE_NAME, data.dir / prepared.FILE_NAME)
        flush(data.dir)
        return finished

    def _source(self, name: str, shards: Sequence[Path], counts: Counts) -> SourceRecord:
        data, files, source = self.data, self.files[name], self.data.sources[name]
        written = self.pool.submit(
            write_source, shards, self.work, name, self.tokenizer.entries, data.sequence_length, data.split
        ).result()
        return SourceRecord(
            inputs=source.inputs,
            places=inputs.places(source.inputs),
            messages_key=source.messages_key,
            files=len(files),
            left_out=len(self.left_out[name]),
            input_bytes=sum(file.size for file in files),
            input_sha256=fingerprint(files),
            conversations=counts.conversations,
            left_out_conversations={
                reason: LeftOutRecord(**asdict(one)) for reason, one in sorted(counts.left_out.items())
            },
            cut=counts.cut,
            longest=counts.longest,
            tokens=counts.tokens,
            loss_tokens=counts.loss_tokens,
            splits=written.splits,
            bin=written.files[".bin"],
            idx=written.files[".idx"],
            loss=written.files[".loss"],
        )


_PACKAGES = ("tokenizers", "jinja2")


def _ends(counts: Iterable[Counts], template: Path) -> tuple[dict[str, int], str]:
    """Return how many turns of the assistant each special token ends, and which token ends the most.

    Raises UserError if some turns end without one.
    """
    found = sum((Counter(one.ends) for one in counts), Counter[str]())
    if missing := found.pop("", 0):
        raise UserError(
            "data.tokenizer.template",
            f"ends {missing} of {missing + found.total()} assistant turns without a "
            "special token, so a model would not learn to stop",
            value=template,
            use="a template that writes one there, such as eos_token",
        )
    return dict(sorted(found.items())), min(found, key=lambda token: (-found[token], token))


def _in_words(counts: Counts) -> str:
    return (
        "; ".join(f"{one.count:,} {reason} ({one.first})" for reason, one in counts.left_out.items())
        or "no lines"
    )


def _job(data: Data, files: dict[str, list[InputFile]], tokenizer: _Described) -> dict[str, object]:
    """Return everything that decides what the finished parts of the work hold."""
    from importlib.metadata import version

    return {
        "slipway": __version__,
        **{package: version(package) for package in _PACKAGES},
        "tokenizer": [sha256(text.encode()).hexdigest() for _, text in sorted(tokenizer.files.items())],
        "asked": data.model_dump(mode="json", include={"sequence_length", "split", "long", "malformed"}),
        "date": str(data.tokenizer.date),
        "sources": {
            name: [
                data.sources[name].messages_key,
                [[os.path.realpath(file.path), file.size, file.mtime_ns] for file in of_source],
            ]
            for name, of_source in files.items()
        },
    }


def _say(text: str) -> None:
    print(f"data: {text}", file=sys.stderr, flush=True)
