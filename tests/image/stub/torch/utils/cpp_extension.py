"""Extensions as setuptools builds them: sources for NVIDIA's compiler are none here."""

from setuptools import Extension
from setuptools.command.build_ext import build_ext as BuildExtension  # noqa: N812

__all__ = ["BuildExtension", "CUDAExtension", "CppExtension"]


def CppExtension(name: str, sources: list[str], **more: object) -> Extension:  # noqa: N802
    return Extension(name, sources, language="c++")


CUDAExtension = CppExtension
