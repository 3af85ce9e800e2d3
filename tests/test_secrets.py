"""What looks like a secret is refused at every door, and is nowhere in what is printed or written."""

import json
import os
import random
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import breadth
from free_text import named, places, put
from presets import ON_DEMO_DATA, data_of, data_preset, preset
from refusals import refused
from slipway import secret_forms, secrets
from slipway.cli import main
from slipway.config.compose import compose, conf_dir, validate_plain
from slipway.config.schema import RunConfig
from slipway.errors import UserError
from slipway.plan import make_plan, plan_file
from slipway.registry import BY_SECTION

CANARY = "5cr3t-canary-0123456789abcdef"
HEX = "0123456789abcdef0123456789abcdef01234567"
SECRETS = {  # what is planted: the part of it that must not be repeated
    "held": CANARY,
    "password in a URL": f"https://me:{CANARY}@host/x",
    "token before the host": f"https://{CANARY}@host/x",
    "token as a user": f"https://{CANARY}:@host/x",
    "token in a query": f"https://host/x?a=1&token={CANARY}",
    "signature": f"https://host/x?X-Amz-Date=1&X-Amz-Signature={CANARY}",
    "option": f"--env=MY_PASSWORD={CANARY}",
    "option in two words": f"--docker-password {CANARY}",
    "header": f"X-Api-Key: {CANARY}",
    "JSON": f'{{"token":"{CANARY}"}}',
    "encoded query": f"https://host/x?to%6ben%3D{CANARY}",
    "encoded user": f"https://me%3A{CANARY}%40host/x",
    "webhook": "https://hooks.slack.com/services/T012345/B012345/XyzXyzXyzXyz",
    "Hugging Face": "hf_AbCdEfGhIjKlMnOpQrStUvWx",
    "GitHub": "ghp_0123456789abcdefABCDEF0123456789abcd",
    "AWS": "AKIAIOSFODNN7EXAMPLE",
    "JWT": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl",
    "private key": "-----BEGIN OPENSSH PRIVATE KEY-----b3BlbnNzaC1rZXk",
}
PLACES = places()
BASE = ["cluster=gke", "+cluster.environment.X=y"]


def quoted(text: str) -> str:
    """The part of a planted text that must not be repeated."""
    return CANARY if CANARY in text else text


@pytest.fixture(scope="module")
def plain() -> dict[str, Any]:
    return compose(BASE).model_dump(mode="json")


@pytest.mark.parametrize("kind", SECRETS)
def test_in_every_string_of_the_configuration(kind: str, plain: dict[str, Any], monkeypatch) -> None:
    """Before the schema sees it, whose complaints repeat values."""
    monkeypatch.setenv("MY_TOKEN_2", CANARY)
    text = f"a{SECRETS[kind]}" if kind == "held" else SECRETS[kind]
    assert len(PLACES) > 60
    for path in PLACES:
        with pytest.raises(UserError) as error:
            validate_plain(put(plain, path, text))
        said = str(error.value)
        assert quoted(text) not in said and "\n" not in said, said
        assert said.startswith(named(path).split(".")[0]), (path, said)


@pytest.mark.parametrize("kind", sorted(set(SECRETS) - {"held"}))
def test_by_its_form_alone(kind: str) -> None:
    """Where no variable of the shell holds it."""
    with pytest.raises(UserError) as error:
        secrets.check_plain({"a": {"b": [SECRETS[kind]]}}, {})
    assert error.value.path == "a.b.0"
    assert quoted(SECRETS[kind]) not in str(error.value)


@pytest.mark.parametrize("read", [plan_file.read, plan_file.read_config])
def test_in_files_that_jobs_read(read: Callable[[Path], object], tmp_path: Path) -> None:
    plan = json.loads(make_plan(compose([])).model_dump_json())
    plan["config"]["logging"]["wandb"]["entity"] = HEX
    file = tmp_path / "plan.json"
    file.write_text(json.dumps(plan))
    with pytest.raises(UserError) as error:
        read(file)
    assert error.value.path.endswith("logging.wandb.entity")
    assert HEX not in str(error.value)


DOORS = [
    *[[verb, "{}"] for verb in ("train", "data", "plan", "launch", "doctor", "kernels", "report")],
    ["checkpoint", "list", "{}"],
    ["launch", "--submit", "-m", "{},x"],
    ["train", "-m", "{},x", "training.steps=-1"],
    ["plan", "--cfg", "job", "{}"],
    ["--cfg", "job", "{}"],
    ["bench", "train", "{}"],
    ["bench", "training", "{}"],
]
IMAGE_DOORS = [
    ["image", "build", "--dry-run", "--torch-index", "{}"],
    ["image", "build", "--dry-run", "--base", "{}"],
    ["image", "sif", "{}"],
    ["runs", "sync", "{}"],
    ["runs", "show", "x", "--dir={}"],
]


@pytest.mark.parametrize("words", DOORS + IMAGE_DOORS, ids=" ".join)
def test_at_every_door(words: list[str], tmp_path: Path, monkeypatch, capfd) -> None:
    """One line, exit code 2; nothing printed, nothing written: also where Hydra would repeat the words."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("THE_SECRET_OF_MINE", CANARY)
    planted = ["https://h/?sig=" + CANARY, CANARY]
    if words in DOORS:
        planted = [
            f"data.sources.stdlib.inputs=['https://{CANARY}@host/']",
            f"+cluster.environment={{HF_TOKEN: {CANARY}}}",
            f"logging.wandb.projct={CANARY}",
            f"logging.wandb.project=[{CANARY}",
            f"training.steps={CANARY}",
            f"+x.password=[{CANARY}",
            "+cluster.environment.A=${oc.env:THE_SECRET_OF_MINE}",
        ]
    for text in planted:
        if text.startswith("+cluster.environment.A") and "--cfg" in words:
            words = [*words, "--resolve"]
        assert main([word.replace("{}", text) for word in words]) == 2, text
        out, err = capfd.readouterr()
        assert out == "" and CANARY not in err, err
        assert len(err.splitlines()) == 1 or words[0:2] == ["train", "-m"], err  # which names each job
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words", [["plan"], ["clusters", "mine"], ["clusters"], ["launch"], ["--cfg", "job"]], ids=str
)
@pytest.mark.parametrize(
    "text", ["environment: {A: !!str %s}", "nodse: %s", "notes: [https://h/?token=%s]", "- %s: ]"]
)
def test_in_a_profile_of_the_users_own(
    words: list[str], text: str, tmp_path: Path, monkeypatch, capfd
) -> None:
    monkeypatch.setenv("API_KEY", CANARY)
    (tmp_path / "cluster").mkdir()
    (tmp_path / "cluster/mine.yaml").write_text(f"defaults: [slurm, _self_]\nname: mine\n{text % CANARY}\n")
    words = [*words, "--config-dir", str(tmp_path), *(["cluster=mine"] if words[0] != "clusters" else [])]
    code = main(words)
    out, err = capfd.readouterr()
    assert CANARY not in out + err
    assert code == 2 or words[0] == "clusters"


@pytest.mark.parametrize(
    "name", ["HF_TOKEN", "hf_token", "TOKEN_2", "GITHUB_PAT", "AWS_SECRET_ACCESS_KEY", "PAT"]
)
def test_names_of_secrets(name: str) -> None:
    with refused(f"cluster.environment.{name}", name):
        secrets.check_plain({"cluster": {"environment": {name: "abc"}}}, {})


@pytest.mark.parametrize(
    "name",
    [
        "AWS_ACCESS_KEY_ID",
        "MYSQL_PASSWORD",
        "PGPASSWORD",
        "DB_PASS",
        "DB_PWD",
        "SLURM_JWT",
        "CREDENTIAL_BLOB",
        "apiKey",
        "SECRET_X",
        "MYTOKEN",
        "api-token",
        "X-Amz-Signature",
        "AZURE_CLIENT_SECRET",
        "GITLAB_JWT_V2",
        "password1",
        "AUTH_TOKEN",
    ],
)
def test_more_names_of_secrets(name: str) -> None:
    assert secrets.looks_secret(name)


@pytest.mark.parametrize(
    "name",
    [
        "TOKENIZERS_PARALLELISM",
        "NCCL_IB_HCA",
        "KEYS_DIR",
        "MIOPEN_USER_DB_PATH",
        "XDG_CACHE_HOME",
        "COMPASS_X",
        "PWD",
        "OLDPWD",
        "PATH",
        "AUTHOR",
        "SSH_AUTH_SOCK",
        "HF_TOKEN_PATH",
        "MAX_TOKENS",
        "KEYBOARD",
        "SSH_PUBLIC_KEY",
        "PATTERN",
        "CREDENTIALS_DIRECTORY",
        "SBATCH_WCKEY",
        "NCCL_IB_PKEY",
    ],
)
def test_plain_names_are_not_taken_for_secrets(name: str) -> None:
    assert not secrets.looks_secret(name)
    secrets.check_plain({"cluster": {"environment": {name: "x"}}}, {})


def test_own_fields_are_no_secrets(tmp_path: Path) -> None:
    """A field of the schema whose name looks secret is known to hold none: else the default would be refused."""
    tagged = [registry.section_class(name) for registry in BY_SECTION.values() for name in registry.packages]
    schemas = [section.model_json_schema() for section in (RunConfig, *tagged)]
    every = {
        name
        for schema in schemas
        for one in [schema, *schema.get("$defs", {}).values()]
        for name in one.get("properties", {})
    }
    assert {name for name in every if secrets.looks_secret(name)} == {
        *("text_key", "messages_key"),
        *("wandb_secret", "key"),
    }
    words = ["data=files", "data.sources.files.inputs=[/x]", "data.sources.files.text_key=the_contents"]
    config = compose([*words, "cluster=gke", "cluster.kubernetes.wandb_secret=wandb-credentials-of-us"])
    path = tmp_path / "plan.json"
    plan_file.write(make_plan(config), path)
    assert plan_file.read(path).config == config
    with refused("cluster.kubernetes.wandb_secret"):
        compose(["cluster=gke", f"cluster.kubernetes.wandb_secret={HEX}"])


def _ordinary() -> list[str]:
    digest = f"sha256:{HEX}{HEX[:24]}"
    return [
        *(
            "/work/projects/llama3_8b/data",
            "runs/gpt3-125m,lr=0.001,seed=3",
            "s3://bucket/a/b",
            HEX,
            f"sha256:{HEX}",
        ),
        *(
            f"docker://host:5000/a/slipway@{digest}",
            f"docker://slipway:cuda@{digest}",
            f"reg.org/a/b:1.2@{digest}",
        ),
        *(f"docker://reg.org/slipway:{HEX}", "git@github.com:a/b.git", "ssh://git@host/x", "ssh://me@host/x"),
        *(
            "https://host/a@v1.2",
            "https://host/x?rev=main&page=2",
            "http://host:8080/x@y",
            "http://[::1]:80/a@b",
        ),
        *(
            "abfss://container@account.dfs.core.windows.net/x",
            "file:///a/b",
            "sk-wikipedia-2024-deduplicated-cleaned",
        ),
        *(
            "--mail-user=me@site.org",
            "mailto:me@site.org",
            "Help:support@site.org",
            "--gres=gpu:4",
            "=mlx5_0:1",
        ),
        *(
            "demo,text_key=contents",
            "hf_llama3_tokenizer",
            "data/hf_datasetspreprocessed",
            "<|endoftext|>",
            "Basic 12-layer-model-2",
            "--wckey=project_2024",
            "KeyError: layers.0.weight_2",
            "pad_token: <|reserved_special_token_250|>",
            "https://host/a%20b?page%3D20240131",
            "token:v20240131",
            "0xff000000",
        ),
        *(
            "pypi-wheels-of-all-packages-for-offline-use",
            "--export=ALL,OMP_NUM_THREADS=8",
            "12:30@node",
            "a = b@c",
        ),
    ]


@pytest.mark.parametrize("text", _ordinary())
def test_ordinary_texts_pass_anywhere(text: str, plain: dict[str, Any]) -> None:
    environment = {"HF_TOKEN": CANARY, "RUN_KEY": "training", "KEY": "8192", "DATA_TOKEN": "short"}
    for path in PLACES:
        if HEX not in text or "wandb" not in named(path):  # where it is the form of a key
            secrets.check_plain(put(plain, path, text), environment)
    secrets.check_words([text, f"run.dir={text}"], environment)
    assert secrets.redacted(text, environment) == text


@settings(max_examples=150 if breadth.ALL else 60)
@given(st.text(max_size=60))
@example("a@b=c?d&e:f//g")
def test_random_texts_pass(text: str) -> None:
    """Random characters are not taken for secrets: no shape is as loose as that."""
    secrets.check_plain({"notes": [text]}, {"A_TOKEN": CANARY})


@settings(max_examples=100 if breadth.ALL else 50)
@given(st.integers(), st.sampled_from(sorted(SECRETS)))
def test_what_is_printed_holds_none(seed: int, kind: str) -> None:
    """Others' words, an error's for one, are cleaned wherever the secret stands in them."""
    environment = {"A_TOKEN": CANARY}
    words = [random.Random(seed).choice(["cannot", "read", "x=1", "(code", "3)", "/a/b"]) for _ in range(6)]
    words.insert(seed % 7, SECRETS[kind])
    cleaned = secrets.redacted(" ".join(words), environment)
    assert quoted(SECRETS[kind]) not in cleaned and secrets.HIDDEN in cleaned
    assert secrets.redacted(cleaned, environment) == cleaned


@pytest.mark.parametrize(
    ("words", "path", "name"),
    [
        (["--docker-password", "hunter22abc"], "a.b.1", "docker-password"),
        ({"token": {"value": "abc"}}, "a.b.token.value", "token"),
        ([{"creds": ["abc"]}], "a.b.0.creds.0", "creds"),
    ],
)
def test_names_in_lists_and_sections(words: object, path: str, name: str) -> None:
    with refused(path, name):
        secrets.check_plain({"a": {"b": words}}, {})


def test_a_held_value_in_lower_case_encoding(monkeypatch) -> None:
    with refused("a", use="A_TOKEN"):
        secrets.check_plain({"a": "https://h/?q=x%2fy%2b1234567"}, {"A_TOKEN": "x/y+1234567"})


def test_labels_of_an_image(monkeypatch, capsys) -> None:
    """They come from git, not from the command line."""
    monkeypatch.setattr("slipway.image.source.address", lambda root: f"https://host/x?token={CANARY}")
    root = Path(__file__).resolve().parents[1]
    assert main(["image", "build", "--dry-run", "--engine", "podman", "--context", str(root)]) == 2
    out, err = capsys.readouterr()
    assert "image.labels.SOURCE: " in err and CANARY not in out + err


def test_errors_are_cleaned(monkeypatch) -> None:
    monkeypatch.setenv("MY_PASSWORD", "a/b+c-1234567")
    line = secrets.in_one_line(RuntimeError("no answer from https://x/?q=a%2Fb%2Bc-1234567,\n a/b+c-1234567"))
    assert "1234567" not in line and line.startswith("no answer from https://x/?q=")


@pytest.mark.parametrize("profile", sorted(path.stem for path in (conf_dir() / "cluster").glob("*.yaml")))
def test_no_profile_looks_secret(profile: str, monkeypatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", CANARY)
    compose([f"cluster={profile}"])


@pytest.mark.parametrize(
    "group", ["experiment", "model", "data", "logging", "parallelism", "optimizer", "kernels"]
)
def test_no_preset_looks_secret(group: str) -> None:
    for path in sorted((conf_dir() / group).glob("*.yaml")):
        chosen = {"data": data_preset, "model": preset}.get(group)
        data = data_of(path.stem) if group == "experiment" else ON_DEMO_DATA
        compose(chosen(path.stem) if chosen else [f"{group}={path.stem}", *data])


@pytest.mark.parametrize(
    ("value", "ordinary"),
    [("training", True), ("Training-Data", True), ("short1", True), ("20240131", True), ("", True)]
    + [(CANARY, False), ("aGhTzQpLmN", False), ("a1b2c3d4", False), ("correct-horse-battery-staple", False)],
)
def test_values_that_may_be_words(value: str, ordinary: bool) -> None:
    assert secret_forms.is_ordinary(value) == ordinary


def test_a_path_in_the_environment_is_no_secret(tmp_path: Path) -> None:
    environment = {"PRIVATE_KEY": str(tmp_path), "SSL_KEY": os.path.join(str(tmp_path), "nowhere-1")}
    assert set(secrets.held_in(environment).values()) == {"SSL_KEY"}


def test_the_check_leaves_the_configuration_alone(plain: dict[str, Any]) -> None:
    before = deepcopy(plain)
    validate_plain(plain)
    assert plain == before
