"""A source tree that asks to be built as NVIDIA's apex does: by two variables, all CUDA extensions or none."""

import os

from setuptools import find_packages, setup
from torch.utils.cpp_extension import BuildExtension, CppExtension, CUDAExtension

extensions = []
if os.environ.get("APEX_CPP_EXT") == "1":
    extensions.append(CppExtension("apex_C", ["csrc/apex_C.cpp"]))
if os.environ.get("APEX_CUDA_EXT") == "1":
    names = ("amp_C", "syncbn", "fused_layer_norm_cuda", "mlp_cuda", "fused_weight_gradient_mlp_cuda")
    extensions += [CUDAExtension(name=name, sources=[f"csrc/{name}.cpp"]) for name in names]

setup(
    name="apex",
    version="0.1",
    packages=find_packages(include=["apex", "apex.*"]),
    ext_modules=extensions,
    cmdclass={"build_ext": BuildExtension},
)
