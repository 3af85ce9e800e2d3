"""Builds apex's wheel with only the extensions that Megatron-core uses; `--there` asks whether they are installed.

Usage, in a source tree of NVIDIA's apex: apex_setup.py --dist-dir FOLDER. Its setup.py offers all or nothing of
the CUDA extensions; most of them serve modules that nothing calls any more, and take most of the hour.
"""

import importlib.util
import runpy
import sys
from typing import Any

KEPT = {
    "apex_C",  # flatten and unflatten, for the multi-tensor ones
    "amp_C",  # multi-tensor: scale, L2 norm, Adam
    "fused_layer_norm_cuda",  # LayerNorm and RMSNorm
    "fused_weight_gradient_mlp_cuda",  # weight gradients added to the main gradient in place
}


def there() -> bool:
    """Whether apex and all kept extensions are installed; loads none (there may be no GPU, no driver)."""
    return all(importlib.util.find_spec(name) for name in ("apex", *KEPT))


def build(folder: str) -> None:
    """Run setup.py in the current folder with the other extensions left out."""
    import setuptools

    whole = setuptools.setup

    def kept_only(**words: Any) -> Any:
        found = {extension.name: extension for extension in words.get("ext_modules") or []}
        if missing := KEPT - found.keys():
            sys.exit(f"apex: this source tree builds no {', '.join(sorted(missing))}")
        print(
            f"apex: building {', '.join(sorted(KEPT))}; leaving out {', '.join(sorted(found.keys() - KEPT))}"
        )
        words["ext_modules"] = [found[name] for name in sorted(KEPT)]
        return whole(**words)

    setuptools.setup = kept_only
    sys.argv = ["setup.py", "bdist_wheel", "--dist-dir", folder]
    sys.path.insert(0, "")
    runpy.run_path("setup.py", run_name="__main__")


if __name__ == "__main__":
    if sys.argv[1:] == ["--there"]:
        sys.exit(not there())
    build(sys.argv[sys.argv.index("--dist-dir") + 1])
