"""A folder to copy to a Jetson: the bundle, rep-edge itself, and one command that makes them run there."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import msgspec

from rep_edge.errors import InputError
from rep_edge.export.wheel import make_wheel
from rep_edge.files import new_folder, require_new, write_file
from rep_edge.runtime.bundle import MANIFEST, Bundle, listed_files, open_bundle
from rep_edge.runtime.manifest import SCHEMA_VERSION
from rep_edge.signals import Image, Text, WindowSpec

BUNDLE = "bundle"
REQUIREMENTS = "requirements.txt"
INSTALL = "install.sh"
README = "README.txt"


class JetPack(NamedTuple):
    """What NVIDIA's system for Jetson brings, and what is installed beside it.

    pins: package to version, all with wheels for aarch64 and that Python; preparing: further ones that bundles with
    pictures or texts need.
    """

    system: str
    python: str
    cuda: str
    tensorrt: str
    pins: dict[str, str]
    preparing: dict[str, str]


PINS = {
    "annotated-types": "0.8.0",
    "cffi": "2.1.1",
    "flatbuffers": "25.12.19",
    "markdown-it-py": "4.3.0",
    "mdurl": "0.1.2",
    "msgspec": "0.22.0",
    "orjson": "3.13.0",
    "packaging": "26.3",
    "paho-mqtt": "2.2.0",
    "protobuf": "7.36.2",
    "pydantic": "2.14.4",
    "pydantic-core": "2.50.5",
    "pygments": "2.21.0",
    "pymseed": "1.0.1",
    "rich": "15.0.0",
    "shellingham": "1.5.4",
    "sounddevice": "0.5.6",
    "soundfile": "0.14.0",
    "soxr": "1.1.0",
    "typing-extensions": "4.16.0",
    "typing-inspection": "0.4.5",
}
"""For either Python: rep-edge's own needs, readers of recordings, and what those need."""
PYTHON_310 = {
    "annotated-doc": "0.0.6",
    "coloredlogs": "15.0.1",
    "humanfriendly": "10.0",
    "mpmath": "1.3.0",
    "numpy": "2.2.6",
    "onnxruntime": "1.23.2",
    "pycparser": "3.11",
    "sympy": "1.14.0",
    "typer": "0.29.1",
}
PYTHON_312 = {
    "annotated-doc": "0.0.7",
    "numpy": "2.4.6",
    "onnxruntime": "1.32.0",
    "pycparser": "3.12",
    "typer": "0.29.2",
}
PREPARING = {
    "anyio": "4.16.0",
    "click": "8.5.1",
    "fsspec": "2026.9.0",
    "ftfy": "6.3.1",
    "h11": "0.16.0",
    "hf-xet": "1.8.0",
    "huggingface-hub": "2.4.0",
    "idna": "3.20",
    "pyyaml": "6.0.4",
    "tokenizers": "0.23.3",
    "tqdm": "4.70.1",
    "truststore": "0.10.5",
    "wcwidth": "0.9.4",
}
"""For either Python: what makes ids of texts and reads pictures. Most of it is there because tokenizers asks for it."""
PREPARING_310 = {
    "exceptiongroup": "1.3.2",
    "filelock": "4.1.0",
    "httpcore2": "2.14.0",
    "httpx2": "2.14.0",
    "pillow": "12.3.0",
    "tomli": "2.5.0",
}
PREPARING_312 = {"filelock": "4.2.12", "httpcore2": "2.16.2", "httpx2": "2.16.2", "pillow": "13.0.0"}
# cuda-bindings must not be of a newer CUDA major than the driver. 12.8.0 is the oldest with wheels for aarch64.
JETPACKS = {
    6: JetPack(
        "Ubuntu 22.04",
        "3.10",
        "12.6",
        "10.3",
        {**PINS, **PYTHON_310, "cuda-bindings": "12.8.0"},
        {**PREPARING, **PREPARING_310},
    ),
    7: JetPack(
        "Ubuntu 24.04",
        "3.12",
        "13.0",
        "10.13",
        {**PINS, **PYTHON_312, "cuda-bindings": "13.0.3", "cuda-pathfinder": "1.9.0"},
        {**PREPARING, **PREPARING_312},
    ),
}


def write_jetson(bundle: Bundle, version: int, out: Path) -> None:
    """Write the new folder `out` for JetPack `version`; it appears whole or not at all.

    Engines of the bundle stay behind: they are for other GPUs. Raises InputError for an unknown JetPack, and where
    `out` is there already or cannot be written.
    """
    if version not in JETPACKS:
        raise InputError(f"JetPack {version}: is not known; choose {' or '.join(map(str, JETPACKS))}")
    require_new(out)
    jetpack = JETPACKS[version]
    wheel, content = make_wheel()
    with new_folder(out) as folder:
        _copy(bundle, folder / BUNDLE)
        write_file(folder / wheel, content)
        pins = "".join(f"{name}=={pin}\n" for name, pin in sorted(_pins(jetpack, bundle.manifest.spec).items()))
        write_file(folder / REQUIREMENTS, pins.encode())
        write_file(folder / INSTALL, _install(version, jetpack, wheel).encode())
        (folder / INSTALL).chmod(0o755)
        write_file(folder / README, _readme(version, jetpack, bundle.manifest.spec).encode())


def _pins(jetpack: JetPack, spec: WindowSpec) -> dict[str, str]:
    prepared = any(isinstance(m, (Image, Text)) for m in spec.modalities)
    return {**jetpack.pins, **jetpack.preparing} if prepared else jetpack.pins


def _copy(bundle: Bundle, folder: Path) -> None:
    """The bundle without its engines, verified where it now lies."""
    # Written anew, an older manifest is one of this version.
    manifest = msgspec.structs.replace(bundle.manifest, schema_version=SCHEMA_VERSION, engines=())
    try:
        for record in listed_files(manifest):
            (folder / record.path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(bundle.path / record.path, folder / record.path)
    except OSError as error:
        raise InputError(
            f"{folder.parent}: cannot be written ({error.strerror}); free space or choose another folder"
        ) from error
    write_file(folder / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=2))
    open_bundle(folder)


def _install(version: int, jetpack: JetPack, wheel: str) -> str:
    python = f"({', '.join(jetpack.python.split('.'))})"
    return f"""#!/bin/sh
# Installs rep-edge beside the TensorRT of JetPack {version}, compiles the bundle for this GPU and checks it.
set -eu
cd "$(dirname "$0")"
fail() {{
    echo "error: $1" >&2
    exit 1
}}
[ "$(uname -m)" = aarch64 ] || fail "this machine is no Jetson (not aarch64): copy the folder to one"
python3 -c 'import sys; sys.exit(sys.version_info[:2] != {python})' ||
    fail "python3 is not {jetpack.python}: this folder is for JetPack {version}; write one for the JetPack that is here"
python3 -c 'import tensorrt' ||
    fail "JetPack's TensorRT has no Python package here: run  sudo apt install python3-libnvinfer"
# JetPack's TensorRT lies among the system's packages: the environment has to see them.
python3 -m venv --system-site-packages venv ||
    fail "python3 makes no virtual environment: run  sudo apt install python3-venv"
venv/bin/python -m pip install --requirement {REQUIREMENTS}
venv/bin/python -m pip install --no-deps --force-reinstall ./{wheel}
venv/bin/rep-edge compile {BUNDLE} --backend tensorrt
venv/bin/rep-edge doctor {BUNDLE}
"""


def _readme(version: int, jetpack: JetPack, spec: WindowSpec) -> str:
    run = f"stream {BUNDLE} --source NAME=FILE" if spec.hop_s else f"classify {BUNDLE} --source NAME=VALUE"
    return f"""rep-edge for JetPack {version}: {jetpack.system}, Python {jetpack.python}, CUDA {jetpack.cuda} or later,
TensorRT {jetpack.tensorrt} or a later 10.

Copy this folder to the Jetson and run there, once:

    sh {INSTALL}

It makes the environment venv, installs the versions of {REQUIREMENTS} from the package index (the Jetson needs the
network for that) and rep-edge from the wheel, builds an engine of every graph in {BUNDLE} for the GPU, and checks all.
TensorRT and CUDA are JetPack's own. Then:

    venv/bin/rep-edge {run}

After an update of JetPack run  sh {INSTALL}  again: engines fit one version of TensorRT and one GPU.
"""
