"""deploy/kubernetes and tests/golden/launch hold what is rendered now. SLIPWAY_UPDATE_GOLDENS=1 writes them anew."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

import kubernetes_schemas
from slipway.config.compose import compose, conf_dir
from slipway.launch.kubernetes import manifests, to_text
from slipway.launch.kubernetes.volume import claim, ownership, preparation
from slipway.launch.placement import place
from slipway.plan import make_plan

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "deploy" / "kubernetes"
GOLDEN = ROOT / "tests" / "golden" / "launch"
UPDATE = os.environ.get("SLIPWAY_UPDATE_GOLDENS") == "1"

RUN = "model=llama3_8b parallelism=tp4_pp2 training.precision=bf16 training.global_batch_size=1024"
NODES = "resources.nodes=2 resources.devices_per_node=8"
IMAGE = "launch.image=registry.example.com/slipway:cuda"
QUEUE = "launch.queue=research"
RENDERED = {
    "job": f"cluster=kubernetes launch.kind=job {RUN} {NODES} {IMAGE}",
    "jobset": f"cluster=gke launch.kind=jobset {RUN} {NODES} {IMAGE}",
    "trainjob": f"cluster=aks launch.kind=trainjob {RUN} {NODES} {IMAGE}",
    "kueue": f"cluster=gke {QUEUE} {RUN} {NODES} {IMAGE}",
    "volcano": f"cluster=eks cluster.kubernetes.queueing=volcano {QUEUE} {RUN} {NODES} {IMAGE}",
}
PROFILES = sorted(
    path.stem for path in (conf_dir() / "cluster").glob("*.yaml") if "base/kubernetes" in path.read_text()
)


def rendered(words: str) -> list[dict[str, Any]]:
    config = compose(words.split())
    return manifests([make_plan(config)], place(config))


def same(path: Path, text: str) -> None:
    if UPDATE:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert path.read_text() == text, f"{path}: SLIPWAY_UPDATE_GOLDENS=1 writes it anew"


@pytest.mark.parametrize("name", RENDERED)
def test_examples(name: str) -> None:
    comment = f"# slipway launch {RENDERED[name]}\n"
    same(EXAMPLES / f"{name}.yaml", comment + to_text(rendered(RENDERED[name])))


def test_volume_and_preparation() -> None:
    config = compose(["cluster=kubernetes"])
    image = IMAGE.partition("=")[2]
    found = {
        "volume": claim(compose(["cluster=gke"]), "1Ti"),
        "owner": ownership(config, image),
        "prepare": preparation(config, image, ["data=stdlib"]),
    }
    about = {
        "volume": "# The volume for runs and data, before anything else. Your size, and your storage class, which\n"
        "# several nodes must be able to write: zonal-rwx on GKE, azurefile-csi-premium on AKS, and on EKS one that\n"
        "# you make, here fsx-sc.\n",
        "owner": "# Makes the pods' user the owner of the volume, once, where fsGroup does not (not all drivers).\n",
        "prepare": "# `slipway data` on the volume, before the first run. The words after it are yours.\n",
    }
    for name, manifest in found.items():
        kubernetes_schemas.check(manifest)
        same(EXAMPLES / f"{name}.yaml", about[name] + to_text([manifest]))


def test_nothing_else_is_there_and_no_secret() -> None:
    files = {path.name for path in EXAMPLES.iterdir()}
    assert files == {
        "README.md",
        "volume.yaml",
        "owner.yaml",
        "prepare.yaml",
        *(f"{name}.yaml" for name in RENDERED),
    }
    for path in EXAMPLES.glob("*.yaml"):
        assert "Secret" not in {manifest["kind"] for manifest in yaml.safe_load_all(path.read_text())}


@pytest.mark.parametrize("profile", PROFILES)
def test_golden(profile: str) -> None:
    """What the profile's default kind is given; plan.json is left out, as other tests compare it."""
    found = rendered(f"cluster={profile} {RUN} {NODES} cluster.kubernetes.wandb_secret=wandb run.name=golden")
    assert found[0]["data"].keys() == {"plan.json"}
    found[0]["data"]["plan.json"] = "..."
    same(GOLDEN / f"{profile}.yaml", to_text(found))
