#!/bin/sh
# Installs a folder of wheels beside a torch that is there, without a network, and trains from it.
# Usage: test-wheels-gpu.sh FOLDER LOCKED_VENV    the environment whose torch, and what torch brings, is taken
set -eu
folder=$(realpath "${1:?usage: test-wheels-gpu.sh FOLDER LOCKED_VENV}")
locked=$(realpath "${2:?usage: test-wheels-gpu.sh FOLDER LOCKED_VENV}")
mkdir -p build
work=$(realpath "$(mktemp -d build/wheels-gpu.XXXXXX)")
trap 'rm -rf "$work"' EXIT

# A bare environment with only torch in it: files are linked, not copied, as this one's are never written to.
"$locked/bin/python" -m venv "$work/venv"
"$locked/bin/python" - "$work/venv" <<'END'
import os, re, subprocess, sys
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement

site = "import sysconfig; print(sysconfig.get_path('purelib'))"
target = Path(subprocess.check_output([f"{sys.argv[1]}/bin/python", "-c", site], text=True).strip())
left, done = ["torch"], set()
while left:
    name = re.sub(r"[-_.]+", "-", left.pop()).lower()
    if name in done:
        continue
    done.add(name)
    found = distribution(name)
    for file in found.files or []:
        if ".." not in file.parts:
            (target / file).parent.mkdir(parents=True, exist_ok=True)
            os.link(file.locate(), target / file)
    asked = [Requirement(line) for line in found.requires or []]
    for requirement in asked:
        extras = requirement.extras or {""}
        if not requirement.marker or requirement.marker.evaluate({"extra": ""}):
            left.append(requirement.name)
            if extras != {""}:  # cuda-toolkit[cublas,...]
                of = [Requirement(line) for line in distribution(requirement.name).requires or []]
                left += [r.name for r in of if r.marker and any(r.marker.evaluate({"extra": e}) for e in extras)]
print("with torch and", ", ".join(sorted(done - {"torch"})))
END

# Nothing of this shell's set-up, and no network where the system lets us take it away.
offline="env -i PATH=$work/venv/bin:/usr/sbin:/usr/bin:/bin HOME=$work PIP_CONFIG_FILE=/dev/null"
offline="$offline PIP_INDEX_URL=http://127.0.0.1:9/ PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_CONSTRAINT="
if unshare -rn true 2>/dev/null; then
    offline="unshare -rn $offline"
else
    echo "unshare is not allowed here: only pip is kept off the network"
fi
# with this namespace's own loopback, over which ranks speak
run() { $offline sh -c 'ip link set lo up 2>/dev/null || true; exec "$@"' - "$@"; }

cd "$work"
(cd "$folder" && sha256sum --quiet -c SHA256SUMS)
run python -m pip freeze --all >before.txt
run python -m pip install -q --no-deps -r "$folder/requirements.txt"
run python -m pip freeze --all >after.txt
if grep -Fvxf after.txt before.txt; then
    echo "The installation has changed these packages of the environment" >&2
    exit 1
fi
run python - <<'END'
import torch
import slipway
from importlib.metadata import version
print(f"torch {torch.__version__} as before, slipway {slipway.__version__}, Megatron-core {version('megatron-core')}")
END

mkdir texts
for file in "$locked"/lib/python3.*/site-packages/torch/nn/modules/a*.py; do cp "$file" texts/; done
run slipway plan experiment=demo
run slipway doctor
small="model=demo model.vocab_size=300 data=files data.sources.files.inputs=[texts] training.global_batch_size=4"
# shellcheck disable=SC2086
run slipway train $small training.steps=4 validation.steps=0 run.dir=run resources.devices_per_node=2 \
    parallelism.tensor_model_parallel_size=2
run slipway report run.dir=run
test -s run/loss.png
python3 - <<'END'
import json
steps = [line for line in map(json.loads, open("run/metrics.jsonl")) if line["kind"] == "train"]
assert [line["step"] for line in steps] == [1, 2, 3, 4] and steps[-1]["loss"] < steps[0]["loss"], steps
END

# What is left out is missed in one line that names it.
refused() { # NAME COMMAND...
    name=$1
    shift
    code=0
    run "$@" >refused.txt 2>&1 || code=$?
    if [ "$code" != 2 ] || ! grep -q "needs $name" refused.txt; then
        cat refused.txt
        echo "exit code $code, and not 2 with a line that $name is needed: $*" >&2
        exit 1
    fi
}
# shellcheck disable=SC2086
refused wandb slipway train $small logging=wandb_offline run.dir=other
# shellcheck disable=SC2086
refused tensorboard slipway train $small logging=tensorboard run.dir=other
touch rows.parquet text.jsonl.zst
echo x >>rows.parquet
echo x >>text.jsonl.zst
refused pyarrow slipway data model=demo data=files data.dir=rows "data.sources.files.inputs=[rows.parquet]"
refused zstandard slipway data model=demo data=files data.dir=lines "data.sources.files.inputs=[text.jsonl.zst]"
echo "installed and trained from $folder, without a network"
