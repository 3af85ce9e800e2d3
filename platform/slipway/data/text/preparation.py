"""The preparation of Megatron's indexed data from text: the steps of `slipway data`, in order."""

import os
import platform
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from slipway import __version__, cores
from slipway.data import prepared, workspace
from slipway.data.files import FileRecord
from slipway.data.inputs import LeftOut, check_unchanged, describe, fingerprint
from slipway.data.pool import done, in_order, worker_pool
from slipway.data.progress import Progress, show_progress
from slipway.data.text import inputs, manifest
from slipway.data.text.blocks import block_size, cut_into_blocks
from slipway.data.text.checks import changed_inputs, check_folder, check_space
from slipway.data.text.config import Config as Data
from slipway.data.text.inputs import InputFile
from slipway.data.text.manifest import Manifest, SourceRecord, TokenizerRecord
from slipway.data.text.tokenizer import check_asked
from slipway.data.text.workers import ENVIRONMENT, build_tokenizer, encode_block, write_datasets
from slipway.errors import UserError
from slipway.files import flush, write_whole

if TYPE_CHECKING:
    from slipway.data.text.shards import Counts

COUNTED = ("documents", "tokens")


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
    check_asked(data.tokenizer)
    surveys = {name: inputs.survey(name, source) for name, source in data.sources.items()}
    files = {name: found for name, (found, _) in surveys.items()}
    left_out = {name: others for name, (_, others) in surveys.items()}
    check_folder(data)
    total = sum(file.size for of_source in files.values() for file in of_source)
    check_space(data, files)
    workers = data.workers or cores.usable()
    for name, others in left_out.items():
        if others:
            print(f"data: data.sources.{name}: skipped: {describe(others)}", file=sys.stderr, flush=True)
    with (
        prepared.being_prepared(data.dir),
        worker_pool(workers, ENVIRONMENT) as pool,
        workspace.workspace(data.dir, _job(data, files)) as work,
        show_progress(progress, total, COUNTED) as shown,
    ):
        done = _Preparation(data, files, left_out, workers, pool, work, shown).run()
        workspace.remove(work)
        return done


@dataclass
class _Preparation:
    data: Data
    files: dict[str, list[InputFile]]
    left_out: dict[str, list[LeftOut]]
    workers: int
    pool: ProcessPoolExecutor
    work: Path
    progress: Progress

    def run(self) -> Manifest:
        self.tokenizer = self._tokenizer()
        self.progress.phase("tokens")
        shards, counts = self._encode()
        self.progress.phase("writing")
        return self._commit(shards, counts)

    def _tokenizer(self) -> TokenizerRecord:
        asked = self.data.tokenizer
        self.progress.phase("training the tokenizer" if asked.kind == "bpe" else "tokenizer")
        path = self.work / manifest.TOKENIZER_NAME
        if path.exists():
            asked = asked.model_copy(update={"kind": "file", "path": path})
        text, entries, end, slow = self.pool.submit(
            build_tokenizer, asked, self.files, self.data.sources, self.workers
        ).result()
        if slow is not None:
            print(
                "data: data.tokenizer: encoded by the tokenizers library, which takes several times as long as usual: "
                f"{slow} (docs/data.md, Speed)",
                file=sys.stderr,
                flush=True,
            )
        write_whole(path, text)
        record = FileRecord(bytes=len(text.encode()), sha256=sha256(text.encode()).hexdigest())
        return TokenizerRecord(
            **manifest.asked_tokenizer(self.data.tokenizer),  # type: ignore[arg-type]
            end_of_document_id=end,
            entries=entries,
            file=record,
        )

    def _encode(self) -> tuple[dict[str, list[Path]], "dict[str, Counts]"]:
        """Return the shards of each source, in order, and their counts."""
        from slipway.data.text.fast_bpe.encode import token_type
        from slipway.data.text.shards import Counts, read_counts

        dtype = token_type(self.tokenizer.entries)
        shards: dict[str, list[Path]] = {name: [] for name in self.files}
        counts = {name: Counts() for name in self.files}

        def submitted() -> "Iterator[tuple[tuple[str, int, bool], Future[Counts]]]":
            size = block_size(sum(file.size for of_source in self.files.values() for file in of_source))
            for name, files in self.files.items():
                folder = self.work / name
                folder.mkdir(exist_ok=True)
                text_key = self.data.sources[name].text_key
                for block in cut_into_blocks(files, text_key, size):
                    shard = folder / f"{block.index:06d}.shard"
                    shards[name].append(shard)
                    found = read_counts(shard, dtype)
                    yield (
                        (name, block.disk_bytes, found is None),
                        (
                            done(found)
                            if found
                            else self.pool.submit(
                                encode_block,
                                block,
                                text_key,
                                str(self.work / manifest.TOKENIZER_NAME),
                                self.tokenizer.entries,
                                self.tokenizer.end_of_document_id,
                                shard,
                            )
                        ),
                    )

        for (name, disk_bytes, fresh), found in in_order(submitted(), self.workers + 1):
            counts[name] += found
            self.progress.advance(disk_bytes, asdict(found), fresh)
        for of_source in self.files.values():
            for file in of_source:
                check_unchanged(file)
        for name, found in counts.items():
            if not found.documents:
                raise UserError(
                    f"data.sources.{name}",
                    f"has no documents: all {found.without_text} in {len(self.files[name])} files are without text",
                    do="name files with text, or set text_key",
                )
        return shards, counts

    def _commit(self, shards: dict[str, list[Path]], counts: "dict[str, Counts]") -> Manifest:
        """Write the files aside, move them into data.dir, the manifest last, and return it."""
        from importlib.metadata import version

        from slipway.data.text.fast_bpe.encode import token_type

        sources = {}
        written = self.pool.submit(write_datasets, shards, self.work, self.tokenizer.entries).result()
        for name, source in self.data.sources.items():
            bin_record, idx_record = written[name]
            sources[name] = SourceRecord(
                inputs=source.inputs,
                places=inputs.places(source.inputs),
                text_key=source.text_key,
                files=len(self.files[name]),
                left_out=len(self.left_out[name]),
                input_bytes=sum(file.size for file in self.files[name]),
                input_sha256=fingerprint(self.files[name]),
                text_bytes=counts[name].text_bytes,
                documents=counts[name].documents,
                without_text=counts[name].without_text,
                tokens=counts[name].tokens,
                bin=bin_record,
                idx=idx_record,
            )
        done = Manifest(
            tokenizer=self.tokenizer,
            token_type=token_type(self.tokenizer.entries).__name__,  # type: ignore[arg-type]
            sources=sources,
            versions={
                "slipway": __version__,
                "python": platform.python_version(),
                "megatron-core": version("megatron-core"),
                "tokenizers": version("tokenizers"),
            },
        )
        write_whole(self.work / prepared.FILE_NAME, manifest.to_text(done))
        names = [f"{name}{suffix}" for name in sources for suffix in (".bin", ".idx")]
        for name in (*names, manifest.TOKENIZER_NAME):
            os.replace(self.work / name, self.data.dir / name)
        flush(self.data.dir)
        os.replace(self.work / prepared.FILE_NAME, self.data.dir / prepared.FILE_NAME)
        flush(self.data.dir)
        return done


def _job(data: Data, files: dict[str, list[InputFile]]) -> dict[str, object]:
    """Return everything that decides what the finished parts of the work hold."""
    from importlib.metadata import version

    digest = sha256()
    for name, of_source in files.items():
        digest.update(f"{name}\0{data.sources[name].text_key}\n".encode())
        for file in of_source:
            place = replace(file, path=os.path.realpath(file.path))  # whatever its spelling
            digest.update(repr(place).encode())
    path = data.tokenizer.path
    return {
        "slipway": __version__,
        "tokenizers": version("tokenizers"),
        "tokenizer": manifest.asked_tokenizer(data.tokenizer),
        "tokenizer_file": sha256(path.read_bytes()).hexdigest() if path else None,
        "files": digest.hexdigest(),
    }
