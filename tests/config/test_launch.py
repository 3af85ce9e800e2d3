"""What users of Slurm write is taken as Slurm takes it (the manual of sbatch: --time, --exclude)."""

import pytest

from slipway.config.compose import compose
from slipway.errors import UserError


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("30", 30),
        ("30:00", 30),
        ("0:30", 1),
        ("90:30", 91),
        ("01:30:00", 90),
        ("24:00:00", 1440),
        ("100:00:01", 6001),
        ("1-12", 36 * 60),
        ("1-12:30", 36 * 60 + 30),
        ("2-00:00:00", 2880),
    ],
)
def test_wall_time(text: str, minutes: int) -> None:
    assert compose(["cluster=slurm", f"launch.time_limit={text}"]).launch.time_limit == minutes


@pytest.mark.parametrize("text", ["UNLIMITED", "1d", "24h", "1:2:3:4", "-5", "0", "00:00:00"])
def test_no_wall_time(text: str) -> None:
    with pytest.raises(UserError, match=r"^launch\.time_limit: "):
        compose(["cluster=slurm", f"launch.time_limit='{text}'"])


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("[n1,n2]", ["n1", "n2"]),
        ("n1", ["n1"]),
        ("'jwb[0001-0004,0007],n9'", ["jwb[0001-0004,0007]", "n9"]),
        ("['rack[1-2]n[01-03]','x.y']", ["rack[1-2]n[01-03]", "x.y"]),
    ],
)
def test_lists_of_nodes(text: str, names: list[str]) -> None:
    assert compose(["cluster=slurm", f"launch.exclude={text}"]).launch.exclude == names


@pytest.mark.parametrize("text", ["'n[1-'", "'n]'", "'n[a-b]'", "'a b'", "'$(x)'", "'n[1-2],'"])
def test_no_lists_of_nodes(text: str) -> None:
    with pytest.raises(UserError, match=r"^launch\.exclude"):
        compose(["cluster=slurm", f"launch.exclude={text}"])


@pytest.mark.parametrize("text", ["480G", "480GB", "0", "512000", "1t"])
def test_sizes_of_memory(text: str) -> None:
    config = compose(["cluster=slurm", f"cluster.slurm.memory={text}"])
    assert config.cluster.slurm is not None and config.cluster.slurm.memory == text


@pytest.mark.parametrize("text", ["480Gi", "1.5T", "all", "-1"])
def test_no_sizes_of_memory(text: str) -> None:
    with pytest.raises(UserError, match=r"^cluster\.slurm\.memory: "):
        compose(["cluster=slurm", f"cluster.slurm.memory={text}"])


def test_options_as_scripts_have_them() -> None:
    words = ["cluster.slurm.sbatch_options=['#SBATCH --hint=nomultithread','-C gpu']"]
    slurm = compose(["cluster=slurm", *words]).cluster.slurm
    assert slurm is not None and slurm.sbatch_options == ["--hint=nomultithread", "-C gpu"]
    for name in ("sbatch_options", "srun_options"):
        with pytest.raises(UserError, match=rf"^cluster\.slurm\.{name}\.0: .*must be options"):
            compose(["cluster=slurm", f"cluster.slurm.{name}=['hint=nomultithread']"])
