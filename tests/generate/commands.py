"""Several command lines in one process: torch is imported once.

Reads a JSON list of [words, standard input] from standard input; prints a JSON list of [code, stdout, stderr].
"""

import contextlib
import io
import json
import sys

from slipway import cli


def run(words: list[str], given: str) -> tuple[int, str, str]:
    """One command line."""
    out, err, stdin = io.StringIO(), io.StringIO(), sys.stdin
    sys.stdin = io.TextIOWrapper(io.BytesIO(given.encode()))
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = cli.main(words)
    finally:
        sys.stdin = stdin
    return code, out.getvalue(), err.getvalue()


if __name__ == "__main__":
    print(json.dumps([run(*one) for one in json.load(sys.stdin)]))
