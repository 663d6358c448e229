"""The systemd unit of the service: its text, and writing it without losing what somebody changed by hand."""

from __future__ import annotations

import grp
import hashlib
import pwd
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rep_edge.errors import InputError
from rep_edge.files import write_file

UNIT = "rep-edge.service"
UNIT_DIR = Path("/etc/systemd/system")
STATE = Path("/var/lib/rep-edge")
"""The folder that StateDirectory makes."""

ENVIRONMENT = Path("/etc/rep-edge/environment")
DEVICE_GROUPS = ("audio", "video", "render")
"""Groups that may use sound cards and the GPU of a Jetson. One that is not there would keep the unit from starting."""

SIGNATURE = re.compile(r"# Written by rep-edge install-service ([0-9a-f]{16})\.[^\n]*\n")

HEAD = """\
[Unit]
Description=rep-edge, classifies what the sensors of this device hear
Wants=network-online.target
After=network-online.target sound.target time-sync.target

[Service]
Type=notify
NotifyAccess=main
WatchdogSec=60
TimeoutStartSec=300
Restart=always
RestartSec=5
StateDirectory=rep-edge
CacheDirectory=rep-edge
Environment=REP_EDGE_CACHE=%C/rep-edge
"""

TAIL = """\
UMask=0027
NoNewPrivileges=yes
CapabilityBoundingSet=
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectHostname=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native

[Install]
WantedBy=multi-user.target
"""


def unit_text(config: Path, program: Path, user: str | None, written: Sequence[Path]) -> str:
    """The unit that runs `program` serve --config `config`, both absolute.

    user: who it runs as; None: one that systemd makes up. written: folders that the service writes to. Raises
    InputError where a made-up user would write outside STATE, for a user who is not there, and for a path that no unit
    can hold.
    """
    outside = [folder for folder in written if not folder.is_relative_to(STATE)]
    if user is None and outside:
        raise InputError(
            f"{outside[0]}: cannot belong to the user that systemd makes up; take a state_dir below {STATE}, "
            "or name a user with --user"
        )
    groups = [name for name in DEVICE_GROUPS if _is_known(grp.getgrnam, name)]
    lines = [
        f"ExecStart={_argument(program)} serve --config {_argument(config)}",
        f"WorkingDirectory={_plain(config.parent)}",
        f"EnvironmentFile=-{ENVIRONMENT}",
        "DynamicUser=yes" if user is None else f"User={_user(user)}",
        *([f"SupplementaryGroups={' '.join(groups)}"] if groups else []),
        *([f"ReadWritePaths={' '.join(map(_word, outside))}"] if outside else []),
    ]
    return HEAD + "\n".join(lines) + "\n" + TAIL


def find_program() -> Path:
    """The command `rep-edge` of this Python. Raises InputError where there is none."""
    found = Path(sys.executable).with_name("rep-edge")
    if not found.exists():
        on_path = shutil.which("rep-edge")
        if on_path is None:
            raise InputError('rep-edge: is not installed here; run  pip install "rep-edge[cpu,sensors,service]"')
        found = Path(on_path)
    return found.absolute()


def write_unit(text: str, folder: Path, replace: bool) -> Path:
    """Write the unit below a line that tells later whether it was changed; where it is.

    Raises InputError where one is there that was changed by hand, unless `replace`, and where it cannot be written.
    """
    path = folder / UNIT
    if not replace and path.exists() and not is_unchanged(path.read_text(errors="replace")):
        raise InputError(f"{path}: was changed by hand; keep it, or write over it with --replace")
    write_file(path, signed(text).encode())
    return path


def signed(text: str) -> str:
    """The text, and a first line with its hash."""
    return f"# Written by rep-edge install-service {_hash(text)}. Changes go into: systemctl edit {UNIT}\n{text}"


def is_unchanged(text: str) -> bool:
    """Whether a signed text is as it was written."""
    match = SIGNATURE.match(text)
    return match is not None and match[1] == _hash(text[match.end() :])


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _user(name: str) -> str:
    if not _is_known(pwd.getpwnam, name):
        raise InputError(f"--user {name}: is no user here; make it with  useradd --system {name}  or leave --user out")
    return name


def _is_known(look_up: Callable[[str], object], name: str) -> bool:
    """Whether a database of users or groups has the name."""
    try:
        look_up(name)
    except (KeyError, ValueError):
        return False
    return True


def _plain(path: Path) -> str:
    """A path as a unit has it: "%" would begin a specifier."""
    text = str(path)
    if not text.isprintable():
        raise InputError(f"{path!r}: holds characters that no unit can; choose another folder")
    return text.replace("%", "%%")


def _word(path: Path) -> str:
    """A path as one word of a list."""
    text = _plain(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"' if re.search(r"[\s\"'\\;]", text) else text


def _argument(path: Path) -> str:
    """A path as one word of a command, in which "$" would begin a variable."""
    return _word(path).replace("$", "$$")
