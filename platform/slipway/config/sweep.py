"""Sweeps (`-m`): each job is a run with a name and a directory of its own; one that fails does not stop the others."""

import re
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from slipway import console, system_errors
from slipway.config.compose import resolve, validate_plain
from slipway.errors import EXIT_CONTINUE, EXIT_DONE, EXIT_FAULT, EXIT_USER_ERROR, UserError
from slipway.secrets import in_one_line

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from slipway.config.schema import RunConfig


class Sweep:
    """The jobs of one sweep, which Hydra's launcher calls one after another. One that is stopped stops them all."""

    def __init__(self, task: "Callable[[RunConfig], int]", overrides: Sequence[str]) -> None:
        self._task = task
        self.fixed = _fixed(overrides)
        self._folders: dict[str, int] = {}
        self._failed: list[tuple[int, int]] = []
        self._jobs = self._left = 0
        self._stopped = False

    def job(self, composed: "DictConfig") -> None:
        """Run one job. An error is reported here, and the next job runs."""
        if self._stopped:
            self._left += 1
            return
        from hydra.core.hydra_config import HydraConfig

        hydra = HydraConfig.get()
        number, overrides = hydra.job.num, list(hydra.overrides.task)
        self._jobs += 1
        swept = [word.removeprefix("++") for word in overrides if word.partition("=")[0] not in self.fixed]
        print(f"job {number}: {' '.join(swept)}", file=sys.stderr)
        try:
            code = self._task(self.configure(composed, swept, number))
        except UserError as error:
            print(f"slipway: job {number}: {in_one_line(error)}", file=sys.stderr)
            code = EXIT_USER_ERROR
        except OSError as error:
            if error.filename == console.OUTPUT:  # the sweep's own output
                raise
            print(f"slipway: job {number}: {in_one_line(system_errors.explained(error))}", file=sys.stderr)
            code = EXIT_USER_ERROR if system_errors.is_users(error) else EXIT_FAULT
        except Exception:
            traceback.print_exc()
            code = EXIT_FAULT
        self._stopped = code == EXIT_CONTINUE
        if code != EXIT_DONE:
            self._failed.append((number, code))

    def finish(self) -> int:
        """Report on the whole sweep, and return the exit code of the first job that failed."""
        if not self._failed:
            return EXIT_DONE
        if self._stopped:
            text = f"job {self._jobs - 1} was stopped, {self._left} were not started; run the same command to continue"
            print(f"slipway: {text}", file=sys.stderr)
            return EXIT_CONTINUE
        numbers = ", ".join(str(number) for number, _ in self._failed)
        print(f"slipway: {len(self._failed)} of {self._jobs} jobs failed: {numbers}", file=sys.stderr)
        return self._failed[0][1]

    def configure(
        self,
        composed: "DictConfig",
        swept: Sequence[str],
        number: int,
        known: Mapping[str, Any] = MappingProxyType({}),
    ) -> "RunConfig":
        """Return the configuration of a job, with a name and a directory of its own. known: see resolve.

        Raises UserError if it is not valid, or if two jobs would share a directory.
        """
        from omegaconf import OmegaConf

        folder = str(OmegaConf.to_container(composed.run, resolve=False)["dir"])  # type: ignore[index,call-overload]
        if swept and "run.dir" in self.fixed and "${" not in folder:
            raise UserError(
                "run.dir",
                f"every job of the sweep would write into {folder}",
                do="omit it, sweep over it as well, or include ${run.name} in it",
            )
        composed.run.name = run_name(str(composed.run.name), swept, number)
        config = validate_plain(resolve(composed, known))
        used = self._folders.setdefault(str(config.run.dir), number)
        if used != number:
            raise UserError(
                "run.dir",
                f"is already the directory of job {used}",
                value=config.run.dir,
                do="include what the jobs differ in, such as ${run.name}",
            )
        return config


def run_name(base: str, swept: Sequence[str], number: int) -> str:
    """Return the name of a job's run: the base and what the sweep varies, by the last part of each key."""
    parts = [word for word in swept if word.partition("=")[0] not in ("run.name", "run.dir")]
    shown = ",".join(_shown(word) for word in parts)
    name = f"{base},{shown}" if shown else base
    return name if len(name) <= 200 else f"{base},job={number}"


def _shown(override: str) -> str:
    key, _, value = override.partition("=")
    short = f"{key.rpartition('.')[2]}={value}"
    return re.sub(r"[^A-Za-z0-9._=,+-]+", "-", short).strip("-+")


def _fixed(overrides: Sequence[str]) -> set[str]:
    """Return the keys that the command line sets to one value for all jobs."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    from slipway.config.explain import CompositionErrors, explain

    try:
        parsed = OverridesParser.create().parse_overrides(list(overrides))
    except CompositionErrors() as error:
        raise explain(error) from error
    return {override.get_key_element() for override in parsed if not override.is_sweep_override()}
