#!/bin/bash
# In the image's build: lets an environment see the packages of the base's Python, after its own ones.
# Usage: see-base.sh ENVIRONMENT. The user's own site-packages stay out, as they do in every venv.
set -euo pipefail
environment=$1
site=$("$environment/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
python3 -s -E - "$site/base.pth" <<'END'
import sys
folders = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
# addsitedir, unlike a plain line, follows the .pth files in there
with open(sys.argv[1], "w") as file:
    file.write("".join(f"import site; site.addsitedir({folder!r})\n" for folder in folders))
END
