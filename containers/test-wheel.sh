#!/bin/sh
# Installs a wheel in a fresh environment and uses it from another folder, with the locked packages of an existing one.
# Usage: test-wheel.sh WHEEL LOCKED_VENV
set -eu
wheel=$(realpath "${1:?usage: test-wheel.sh WHEEL LOCKED_VENV}")
locked=$(realpath "${2:?usage: test-wheel.sh WHEEL LOCKED_VENV}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$locked/bin/python" -m venv "$work/venv"
site=$("$work/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
# A path inside a .pth file is added as it is: the editable install's own .pth files there are not followed.
"$locked/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))' >"$site/locked.pth"
"$work/venv/bin/python" -m pip --disable-pip-version-check install -q --no-deps --no-index "$wheel"

cd "$work"
unset PYTHONPATH
PATH=$work/venv/bin:$PATH
python -c "
import slipway
from pathlib import Path
package = Path(slipway.__file__).parent
assert package == Path('$site') / 'slipway', package
for needed in ('conf/config.yaml', 'conf/model/demo.yaml', 'deploy/README.md', 'containers/smoke.py'):
    assert (package / needed).is_file(), needed
"
slipway --help >help.txt
slipway plan --cfg job >job.yaml
slipway plan model=gpt3_175b cluster=h100_cloud resources.nodes=128 \
    data=stdlib data.allow_large_models=true --json >plan.json
slipway plan experiment=demo
slipway launch cluster=slurm >job.sh
slipway launch >here.sh
grep -q 'slipway VERB' help.txt
bash -n job.sh && grep -q '^#SBATCH' job.sh && bash -n here.sh
grep -q 'tensor_model_parallel_size' job.yaml
python -c "
import json
found = json.load(open('plan.json'))['parameters']
assert 174e9 < found < 176e9, found
print('the wheel plans GPT-3 with', format(found, ','), 'parameters')
"
