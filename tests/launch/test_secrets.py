"""Configurations with secrets in them are refused in one line that does not repeat them."""

import pytest

from slipway.config.compose import compose, conf_dir
from slipway.errors import UserError
from slipway.launch import secrets

CANARY = "5cr3t-canary-0123456789abcdef"


@pytest.mark.parametrize(
    "override",
    [
        f"+cluster.environment.WANDB_API_KEY={CANARY}",
        f"+cluster.environment.HF_TOKEN={CANARY}",
        f"+cluster.environment.hf_token={CANARY}",
        f"+cluster.environment.GITHUB_PAT={CANARY}",
        f"+cluster.environment.AWS_SECRET_ACCESS_KEY={CANARY}",
        f"+cluster.environment.AWS_ACCESS_KEY_ID={CANARY}",
        f"+cluster.environment.MYSQL_PASSWORD={CANARY}",
        f"+cluster.environment.PGPASSWORD={CANARY}",
        f"+cluster.environment.SLURM_JWT={CANARY}",
        f"'+cluster.environment.PROXY=\"http://me:{CANARY}@proxy:3128\"'",
        f"'launch.image=\"docker://me:{CANARY}@host/image\"'",
        f"+cluster.file_systems.api-token={CANARY}",
    ],
)
def test_what_looks_like_a_secret_is_refused(override: str) -> None:
    with pytest.raises(UserError) as error:
        secrets.check(compose([override.strip("'")]), {})
    text = str(error.value)
    assert CANARY not in text and "\n" not in text
    assert "export" in text and "Secret" in text and text.startswith(("cluster.", "launch."))


@pytest.mark.parametrize("field", ["launch.workdir", "data.end_of_document", "logging.wandb.project"])
def test_the_callers_own_secrets_are_found_anywhere(field: str) -> None:
    path = {"data.end_of_document": "data.tokenizer.end_of_document"}.get(field, field)
    config = compose([f"{path}=/a/{CANARY}/b"])
    secrets.check(config, {"EDITOR": CANARY, "HF_TOKEN": "short"})
    with pytest.raises(UserError, match=f"{path}: holds the value of the variable HF_TOKEN") as error:
        secrets.check(config, {"HF_TOKEN": CANARY})
    assert CANARY not in str(error.value)


@pytest.mark.parametrize(
    "name",
    [
        "TOKENIZERS_PARALLELISM",
        "NCCL_IB_HCA",
        "KEYS_DIR",
        "MIOPEN_USER_DB_PATH",
        "XDG_CACHE_HOME",
        "COMPASS_X",
    ],
)
def test_plain_names_are_not_taken_for_secrets(name: str) -> None:
    assert not secrets.looks_secret(name)
    secrets.check(compose([f"+cluster.environment.{name}=x"]), {})


@pytest.mark.parametrize("profile", sorted(path.stem for path in (conf_dir() / "cluster").glob("*.yaml")))
def test_no_profile_looks_secret(profile: str) -> None:
    secrets.check(compose([f"cluster={profile}"]), {"WANDB_API_KEY": CANARY})
