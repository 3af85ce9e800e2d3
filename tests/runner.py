"""Runs several trainings in one process: torch is imported once, each training forks its own ranks.

Reads a JSON list of override lists from standard input, writes a JSON list of exit codes to the file named on
the command line. Errors end as exit codes, as on the command line.
"""

import json
import sys
import time
from pathlib import Path

from slipway.config.compose import compose
from slipway.errors import Fault, UserError
from slipway.train.command import run


def main() -> None:
    """Run them in turn."""
    codes = []
    for overrides in json.load(sys.stdin):
        started = time.monotonic()
        try:
            codes.append(run(compose(overrides)))
        except UserError as error:
            print(f"slipway: {error}", file=sys.stderr)
            codes.append(2)
        except Fault as error:
            print(f"slipway: {error}", file=sys.stderr)
            codes.append(1)
        print(f"{time.monotonic() - started:.1f} s: {' '.join(overrides[-8:])}", file=sys.stderr)
    Path(sys.argv[1]).write_text(json.dumps(codes))


if __name__ == "__main__":
    main()
