#!/bin/bash
# In the image's build: slipway from its source, and the image's own scripts, below STAGING/opt/slipway.
# Usage: package.sh SOURCE STAGING
set -euo pipefail
source=$1 staging=$2
python=/opt/slipway/bin/python
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
on_tools() { python3 -m pip --python /tools/bin/python "$@"; }

on_tools wheel -q --no-deps --no-build-isolation --no-index -w /tmp/wheel "$source"
python3 -m pip --python $python install -q --no-deps --no-index --no-compile --root "$staging" /tmp/wheel/*.whl
site=$($python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
$python -m compileall -q -s "$staging" -p / --invalidation-mode unchecked-hash "$staging$site"
# pip notes where the wheel lay, which is nowhere any more.
rm -f "$staging$site"/slipway-*.dist-info/direct_url.json
sed -i '/direct_url\.json,/d' "$staging$site"/slipway-*.dist-info/RECORD
install -D -m 755 "$source/containers/entry.sh" "$staging/opt/slipway/bin/slipway-entry"
install -D -m 755 "$source/containers/slipway.sh" "$staging/opt/slipway/bin/slipway"
install -D -m 644 "$source/containers/env.sh" "$staging/opt/slipway/etc/env.sh"
install -D -m 644 "$source/containers/smoke.py" "$staging/opt/slipway/share/smoke.py"
