"""A host that would spoil every Python does not reach the trainer, by whichever variable it tries."""

from pathlib import Path

import pytest

from container_tools import NOBODY, RUN, Runtime, as_user, good, measured, run

pytestmark = [pytest.mark.image, pytest.mark.timeout(600)]

STEPS = 4
TRAIN = ["slipway", "train", *RUN, f"training.steps={STEPS}"]

# The trainer as it would be in an image that does nothing against the host: the same packages in the base's own
# Python, which looks at the user's packages first; env.sh, bound away, does nothing.
BARE = """
base=$(sed -n 's/^home = //p' /opt/slipway/pyvenv.cfg)/python3
site=$(echo /opt/slipway/lib/python3*/site-packages)
unset PYTHONNOUSERSITE
exec "$base" -c 'import site, sys; site.addsitedir(sys.argv.pop(1)); from slipway.cli import main; sys.exit(main())' \\
    "$site" "$@"
"""

POISONS = ["user site", "PYTHONPATH", "LD_LIBRARY_PATH"]


@pytest.fixture(scope="session")
def poison(work: Path) -> Path:
    """A home, a path and a folder of libraries; what is found there ends a process with the word POISON."""
    folder = work / "poison"
    for place in ("home/.local/lib/python3.11/site-packages/numpy", "path/numpy", "libs"):
        (folder / place).mkdir(parents=True)
    for name, place in (("user site", "home/.local/lib/python3.11/site-packages"), ("PYTHONPATH", "path")):
        (folder / place / "numpy" / "__init__.py").write_text(f"raise RuntimeError('POISON by {name}')\n")
    (folder / "libs" / "libstdc++.so.6").write_text("POISON")
    (folder / "nothing.sh").write_text("")
    return folder


def variables(poison: Path, which: list[str]) -> dict[str, str]:
    """The host's environment with these poisons in it."""
    every = {
        "user site": {"HOME": str(poison / "home")},
        "PYTHONPATH": {"PYTHONPATH": str(poison / "path")},
        "LD_LIBRARY_PATH": {"LD_LIBRARY_PATH": str(poison / "libs")},
    }
    return {name: value for key in which for name, value in every[key].items()}


def command(runtime: Runtime, poison: Path, which: list[str], folder: Path, bare: bool) -> list[str]:
    """The ways in which such an environment gets in: `podman run --env-host`, and Apptainer as most use it.

    Apptainer drops the host's LD_LIBRARY_PATH by itself; sites hand it on as APPTAINERENV_LD_LIBRARY_PATH.
    """
    given = variables(poison, which)
    away = f"{poison / 'nothing.sh'}:/opt/slipway/etc/env.sh"
    words = ["sh", "-c", BARE, "sh", *TRAIN[1:]] if bare else TRAIN
    if runtime.name == "podman":
        own = ["podman", "run", "--rm", "--read-only", "--env-host", "--user", f"{NOBODY}:{NOBODY}"]
        own += ["--volume", f"{poison}:{poison}:ro", "--volume", f"{folder}:/work"]
        own += ["--volume", f"{away}:ro"] if bare else []
        return ["env", *(f"{k}={v}" for k, v in given.items()), *own, runtime.image, *words]
    if "LD_LIBRARY_PATH" in given:
        given["APPTAINERENV_LD_LIBRARY_PATH"] = given["LD_LIBRARY_PATH"]
    home = given.pop("HOME", None)
    own = ["apptainer", "exec", "--bind", str(poison), "--bind", f"{folder}:/work", "--pwd", "/work"]
    own += ["--home", home] if home else ["--no-home"]
    own += ["--bind", away] if bare else []
    return as_user(["env", *(f"{k}={v}" for k, v in given.items()), *own, runtime.image, *words])


@pytest.mark.parametrize("name", ["podman", "apptainer"])
def test_nothing_of_it_reaches_the_trainer(
    name: str, request: pytest.FixtureRequest, poison: Path, run_folder: Path, outside: Path
) -> None:
    runtime = request.getfixturevalue(name)
    words = command(runtime, poison, POISONS, run_folder, bare=False)
    done = run([*words, f"run.dir=poisoned-{name}"])
    assert "POISON" not in good(done) + done.stderr
    here = measured(run_folder / f"poisoned-{name}")
    assert [step for step, *_ in here] == list(range(1, STEPS + 1))
    assert here[0] == measured(outside)[0]


@pytest.mark.parametrize("which", POISONS)
@pytest.mark.parametrize("name", ["podman", "apptainer"])
def test_each_would_without_the_hygiene(
    name: str, which: str, request: pytest.FixtureRequest, poison: Path, run_folder: Path
) -> None:
    runtime = request.getfixturevalue(name)
    done = run([*command(runtime, poison, [which], run_folder, bare=True), "run.dir=never"])
    assert done.returncode != 0
    said = done.stdout + done.stderr
    expected = "libstdc++.so.6: file too short" if which == "LD_LIBRARY_PATH" else f"POISON by {which}"
    assert expected in said, said
    assert not (run_folder / "never" / "metrics.jsonl").exists()
