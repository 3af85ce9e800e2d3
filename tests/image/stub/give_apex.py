"""Puts modules named as apex's into the site-packages of the Python that runs this."""

import sysconfig
from pathlib import Path

site = Path(sysconfig.get_path("purelib"))
for name in ("apex", "apex_C", "amp_C", "fused_layer_norm_cuda", "fused_weight_gradient_mlp_cuda"):
    (site / f"{name}.py").write_text('"""Of the base."""\n')
