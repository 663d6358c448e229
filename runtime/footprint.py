"""How much memory a process takes that holds a bundle with every graph opened."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from rep_edge.errors import InputError

ROLLUP = Path("/proc/self/smaps_rollup")
"""Where Linux adds up a process's memory; a page shared by n processes counts as 1 / n (PSS)."""

EMPTY = f"print(open({str(ROLLUP)!r}).read())"
LOADED = f"""
import sys
from rep_edge.runtime.classifier import Classifier
held = Classifier.load(sys.argv[1], backend="onnxruntime-cpu", precision="fp32")
print(open({str(ROLLUP)!r}).read())
"""


def footprint_mb(bundle: Path) -> float | None:
    """PSS in MB of a fresh interpreter with all fp32 graphs opened and warm on the CPU, above that of an empty one.

    None where the system does not tell. The caller must hold none of the bundle's graphs itself, or it would share
    their pages. Raises InputError where the bundle cannot be opened.
    """
    if not ROLLUP.exists():
        return None
    return (_pss_kb(LOADED, str(bundle)) - _pss_kb(EMPTY)) * 1024 / 1e6


def _pss_kb(code: str, *arguments: str) -> int:
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    found = re.search(r"^Pss: +(\d+) kB", done.stdout, re.MULTILINE)
    if done.returncode or found is None:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise InputError(f"memory: a fresh interpreter could not open the bundle ({reason})")
    return int(found[1])
