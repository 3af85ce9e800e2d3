"""Parquet files with a column of text."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from slipway.errors import UserError


@contextmanager
def open_parquet(path: str, text_key: str) -> Iterator[Any]:
    """Yield a pyarrow.parquet.ParquetFile with a column of text of this name.

    Raises UserError if the file cannot be read, or the column is missing, ambiguous or no text.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        # Nothing is read ahead: a row group can be larger than the memory we may use.
        table = pyarrow.parquet.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False)
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(
            path, f"cannot be read as Parquet: {error}", do="replace it with a good copy"
        ) from error
    with table:
        schema = table.schema_arrow
        if text_key not in schema.names:
            raise UserError(
                path,
                f"has no column {text_key!r} (text_key), found {', '.join(schema.names)}",
                do="set text_key to one of them",
            )
        if schema.names.count(text_key) > 1:
            raise UserError(
                path,
                f"has {schema.names.count(text_key)} columns named {text_key!r} (text_key)",
                do="rename all of them but one",
            )
        kind = schema.field(text_key).type
        if pyarrow.types.is_dictionary(kind):
            kind = kind.value_type
        is_text = (pyarrow.types.is_string, pyarrow.types.is_large_string, pyarrow.types.is_string_view)
        if not any(is_kind(kind) for is_kind in is_text):
            raise UserError(
                path, f"column {text_key!r} is {kind}, not string", do="set text_key to a column of strings"
            )
        yield table
