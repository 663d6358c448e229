"""One file to send with a question: what doctor found, the configuration, the last logs, and no secrets."""

from __future__ import annotations

import importlib.metadata
import io
import platform
import shutil
import sqlite3
import sys
import zipfile
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

from rep_edge.errors import InputError
from rep_edge.files import require_writable, write_file
from rep_edge.runtime.doctor.private import private
from rep_edge.runtime.service.logs import FILE
from rep_edge.runtime.service.reading import config_of
from rep_edge.runtime.service.yaml_lines import read_yaml

LARGEST_BYTES = 4 << 20
"""Of a larger file, its end is taken."""

STATUS = "status.json"
"""Where a running service leaves how it is, in its state folder."""

SQLITE = b"SQLite format 3\0"
README = """\
Gathered by `rep-edge doctor --zip`, to be sent with a question. Look through it before you do.
Passwords, tokens, this machine's name and home folders are blanked. Addresses of sensors and brokers are not.
No waveform is in it, and of the journal only how many rows there are; the status names what was heard last.
"""


def require_zip(path: Path) -> None:
    """Raises InputError where no zip can be written: told before the machine is looked at, which takes a while."""
    if path.exists():
        raise InputError(f"{path}: is there already; choose another name")
    require_writable(path)


def write_zip(path: Path, report: Mapping[str, str], config: Path | None) -> list[str]:
    """Write it whole; a line for each part that could not be had, which its README.txt tells too.

    report: file name -> what doctor found. config: the service's file, whose state folder is looked into.
    """
    require_zip(path)
    parts: dict[str, Callable[[], str]] = {name: text.__str__ for name, text in report.items()}
    parts |= {"packages.txt": _packages, "os-release.txt": _os_release, "machine.txt": _machine}
    missing: list[str] = []
    if config is not None:
        parts |= _of_service(config, missing)
    texts = {}
    for name, make in parts.items():
        try:
            texts[name] = make()
        except (OSError, ValueError, sqlite3.Error) as error:
            missing.append(f"{name}: {error}")
    texts["README.txt"] = README + "".join(f"missing: {line}\n" for line in missing)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        for name, text in texts.items():
            file.writestr(name, private(text))
    write_file(path, packed.getvalue())
    return [private(line) for line in missing]


def _packages() -> str:
    found = {(d.metadata["Name"], d.version) for d in importlib.metadata.distributions()}
    return "".join(f"{name}=={version}\n" for name, version in sorted(found, key=str))


def _os_release() -> str:
    return _end_of(Path("/etc/os-release"))


def _machine() -> str:
    up_s = float(Path("/proc/uptime").read_text().split()[0])
    return f"{platform.platform()}\nPython {sys.version}\nup for {up_s / 3600:.1f} hours\n"


def _of_service(config: Path, missing: list[str]) -> dict[str, Callable[[], str]]:
    """Parts that the service's file leads to; one that cannot be read is sent as it is, with what is wrong with it."""
    parts: dict[str, Callable[[], str]] = {"rep-edge.yaml": lambda: _end_of(config)}
    try:
        state = config_of(read_yaml(config)).state_dir
    except InputError as error:
        missing.append(f"state folder: {error}")
        return parts
    names = [STATUS, FILE, *sorted(file.name for file in state.glob(f"{FILE}.*"))]
    parts |= {f"state/{name}": lambda name=name: _end_of(state / name) for name in names}  # type: ignore[misc]
    return {**parts, "state/disk.txt": lambda: _disk(state), "state/databases.txt": lambda: _databases(state)}


def _end_of(path: Path) -> str:
    with path.open("rb") as stream:
        size = stream.seek(0, io.SEEK_END)
        stream.seek(max(0, size - LARGEST_BYTES))
        return stream.read().decode(errors="replace")


def _disk(state: Path) -> str:
    usage = shutil.disk_usage(state)
    sizes: dict[str, int] = {}
    for file in state.rglob("*"):
        if file.is_file():
            top = file.relative_to(state).parts[0]
            sizes[top] = sizes.get(top, 0) + file.stat().st_size
    lines = [f"{usage.free / 1e9:.1f} GB free of {usage.total / 1e9:.1f} GB"]
    return "\n".join(lines + [f"{size:>14,} bytes  {name}" for name, size in sorted(sizes.items())]) + "\n"


def _databases(state: Path) -> str:
    """How many rows each table of the journal has; read only, beside a service that writes."""
    return "".join(_rows(file) for file in sorted(state.iterdir()) if file.is_file() and _is_database(file))


def _is_database(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(len(SQLITE)) == SQLITE


def _rows(path: Path) -> str:
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
        names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        counts = [(name, database.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]) for name in names]
    return f"{path.name}\n" + "".join(f"  {name}: {count} rows\n" for name, count in counts)
