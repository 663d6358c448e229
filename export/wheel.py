"""A wheel of rep-edge as it is running: what a device without network or source tree installs."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import io
import zipfile
from importlib.metadata import Distribution, distributions
from pathlib import Path

from rep_edge.errors import InputError

NAME = "rep_edge"
ROOMS = ("rep_edge", "rep_edge.calibration", "rep_edge.export", "rep_edge.runtime")
"""Packages with a folder of their own in a source tree; their sub-packages lie in those folders."""
MOMENT = (1980, 1, 1, 0, 0, 0)
"""The time of every file in the wheel: equal sources give equal bytes."""


def make_wheel() -> tuple[str, bytes]:
    """File name and content of a pure-Python wheel of all of rep-edge, the same for the same sources.

    Raises InputError where the package that runs was not installed, so that nothing tells its dependencies.
    """
    installed = _installed()
    version = installed.version
    info = f"{NAME}-{version}.dist-info"
    files = {**_sources(), **_metadata(installed, info)}
    record = f"{info}/RECORD"
    files[record] = "".join([*(f"{path},{_digest(files[path])}\n" for path in sorted(files)), f"{record},,\n"]).encode()
    return f"{NAME}-{version}-py3-none-any.whl", _zipped(files)


def _installed() -> Distribution:
    """What was installed; a source tree on the path may show older metadata of its own."""
    found = sorted(distributions(name="rep-edge"), key=lambda one: one.read_text("METADATA") is None)
    if not found:
        raise InputError("rep-edge: is not installed, only on the path; run  pip install -e .")
    return found[0]


def _sources() -> dict[str, bytes]:
    """Path in the wheel -> content."""
    files = {}
    for room in ROOMS:
        spec = importlib.util.find_spec(room)
        if spec is None or not spec.submodule_search_locations:
            raise InputError(f"{room}: is not installed; install rep-edge again")
        folder = Path(next(iter(spec.submodule_search_locations)))
        for file in folder.rglob("*"):
            if file.is_file() and (file.suffix == ".py" or file.name == "py.typed"):
                inner = file.relative_to(folder).as_posix()
                files[f"{room.replace('.', '/')}/{inner}"] = file.read_bytes()
    return files


def _metadata(installed: Distribution, info: str) -> dict[str, bytes]:
    described = installed.read_text("METADATA") or installed.read_text("PKG-INFO")
    if not described:
        raise InputError("rep-edge: its metadata is gone; install it again")
    files = {
        f"{info}/METADATA": described,
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: rep-edge\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": installed.read_text("entry_points.txt"),
        f"{info}/licenses/LICENSE": installed.read_text("licenses/LICENSE"),
    }
    return {path: text.encode() for path, text in files.items() if text}


def _digest(content: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return f"sha256={digest},{len(content)}"


def _zipped(files: dict[str, bytes]) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as wheel:
        # The record of all files last, as the format asks for.
        for path in sorted(files, key=lambda path: (path.endswith("/RECORD"), path)):
            entry = zipfile.ZipInfo(path, MOMENT)
            entry.external_attr, entry.compress_type = 0o100644 << 16, zipfile.ZIP_DEFLATED
            wheel.writestr(entry, files[path])
    return held.getvalue()
