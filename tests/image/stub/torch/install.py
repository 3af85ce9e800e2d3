"""Puts the stub of torch into the site-packages of the Python that runs this."""

import shutil
import sysconfig
from pathlib import Path

site = Path(sysconfig.get_path("purelib"))
shutil.copytree(Path(__file__).parent, site / "torch")
info = site / "torch-2.13.0a0+stub.dist-info"
info.mkdir()
(info / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.13.0a0+stub\n")
(info / "INSTALLER").write_text("stub\n")
