"""The run's own copy of its tokenizer: a trained model whose tokenizer is lost cannot be used."""

from slipway import files
from slipway.config.schema import RunConfig
from slipway.data import kind_of
from slipway.run_dir import RunDir


def keep_tokenizer(config: RunConfig) -> None:
    """Copy the tokenizer from the prepared data into the run directory, unless it already exists there.

    Prepared data is often removed after some weeks, and a tokenizer is small beside a checkpoint. A different tokenizer
    that was there before, from an imported model, is removed: its settings are not for these tokens. Raises OSError if
    the copy cannot be written.
    """
    folder, sources = RunDir(config.run.dir).tokenizer, kind_of(config).tokenizer(config)
    wanted = {source.name: source.read_bytes() for source in sources if source.is_file()}
    if not wanted:
        return
    first = sources[0].name
    if files.read(folder / first) != wanted.get(first):
        for name in files.names(folder):
            files.remove(folder / name)
    files.make_folder(folder)
    for name, content in wanted.items():
        if files.read(folder / name) != content:
            with files.whole(folder / name) as beside:
                beside.write_bytes(content)
