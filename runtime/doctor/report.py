"""What this machine can run, and what it makes of one bundle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from rep_edge.runtime.choosing import BACKENDS
from rep_edge.runtime.doctor.apart import ask_apart
from rep_edge.runtime.doctor.machine import CacheState, Machine, describe_cache, describe_machine


class BackendState(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a backend computed the one-node graph. told: what it ran on, or why it did not."""

    name: str
    starts: bool
    told: str


class BundleState(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle here. problem: why it cannot be used, "" where it can.

    patterns, precisions: of its graphs; engines: "acoustic in fp16 for sm89 by tensorrt-rtx 1.7.1"; backend, precision,
    reasons: what `auto` takes, and why.
    """

    path: str
    verified: bool = False
    problem: str = ""
    patterns: tuple[str, ...] = ()
    precisions: tuple[str, ...] = ()
    engines: tuple[str, ...] = ()
    backend: str = ""
    precision: str = ""
    reasons: tuple[str, ...] = ()


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. builder: whether tensorrt-rtx builds engines for GPUs that are not here."""

    machine: Machine
    backends: tuple[BackendState, ...]
    builder: BackendState
    cache: CacheState
    bundle: BundleState | None = None

    @property
    def problem(self) -> str:
        """What keeps this machine, or the bundle, from being used; "" for nothing."""
        if not any(backend.starts for backend in self.backends):
            return "no backend starts on this machine; the report says what each of them lacks"
        return self.bundle.problem if self.bundle is not None else ""


def examine(bundle: Path | None, tell: Callable[[str], None]) -> Report:
    """Start every backend, each in a process of its own, so that one that crashes is told like any other."""
    states = []
    for name in BACKENDS:
        tell(f"starting {name}")
        states.append(_state(name, ask_apart("start", name)))
    tell("building an engine for another GPU")
    builder = _state("tensorrt-rtx", ask_apart("build", "tensorrt-rtx"))
    return Report(
        machine=describe_machine(),
        backends=tuple(states),
        builder=builder,
        cache=describe_cache(),
        bundle=None if bundle is None else _bundle_state(bundle),
    )


def _state(name: str, answer: dict[str, object]) -> BackendState:
    told = str(answer.get("problem") or answer.get("told", ""))
    return BackendState(name=name, starts="problem" not in answer, told=told.removeprefix(f"{name}: "))


def _bundle_state(path: Path) -> BundleState:
    return msgspec.convert({"path": str(path), **ask_apart("examine", str(path.absolute()))}, BundleState)
