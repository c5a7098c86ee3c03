"""Lets torch's CUDA wheel, the only one on PyPI for Linux, be imported without the CUDA libraries.

The loader wants every library that torch names to exist, but functions are bound only when first called, and on the CPU none of
CUDA's ever is. So each missing library becomes a link to a small library of torch's own, and Python is told to bind lazily.
Where torch has no CUDA part (macOS), or the libraries are installed, nothing is done.
"""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

# What torch 2.13.0's libraries name, but for the CUDA runtime, which is installed (requirements.txt).
LIBRARIES = [
    "libcublas.so.13",
    "libcublasLt.so.13",
    "libcudnn.so.9",
    "libcufft.so.12",
    "libcufile.so.0",
    "libcupti.so.13",
    "libcurand.so.10",
    "libcusparse.so.12",
    "libcusparseLt.so.0",
    "libnccl.so.2",
    "libnvrtc.so.13",
    "libnvshmem_host.so.3",
]


def link_missing_libraries() -> None:
    """Makes the links, once, in the folder of the CUDA runtime, where torch looks (its RPATH)."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        raise ImportError("torch is not installed")
    packages = Path(spec.origin).parent.parent
    folder = packages / "nvidia" / "cu13" / "lib"
    if not (packages / "torch" / "lib" / "libtorch_cuda.so").exists() or not folder.exists():
        return
    for library in LIBRARIES:
        if not any(packages.glob(f"nvidia/*/lib/{library}")):
            (folder / library).symlink_to("../../../torch/lib/libtorch_global_deps.so")


def prepare() -> None:
    """To be called before `import torch`: no GPU, no network, functions bound when called."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["TRANSFORMERS_OFFLINE"] = "1"
    if sys.platform == "linux":
        link_missing_libraries()
        sys.setdlopenflags(os.RTLD_LAZY)
