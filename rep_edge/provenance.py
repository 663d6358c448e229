"""Where a result came from: versions of the packages and the revision of the source."""

from __future__ import annotations

import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rep_edge import __version__


def package_versions(*packages: str) -> dict[str, str]:
    """The installed version of rep-edge and of each named distribution; those not installed are left out."""
    versions = {"rep-edge": __version__}
    for name in packages:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def git_revision() -> str | None:
    """Commit of the source tree this package runs from, with "-dirty" for local changes; None outside a git tree."""
    here = Path(__file__).resolve()
    describe = ["describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        # A package installed into some other project's tree must not report that project's revision.
        _git(here.parent, "ls-files", "--error-unmatch", here.name)
        return _git(here.parent, *describe)
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True, timeout=20
    )
    return done.stdout.strip()
