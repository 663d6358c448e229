"""A stand-in for cuda.bindings.runtime on a machine without GPU: it copies for real, knows what is captured and what
was freed, and answers as the package does, with a tuple of error code and value."""

from __future__ import annotations

import ctypes
import itertools
import sys
from collections.abc import Callable
from enum import IntEnum
from types import ModuleType
from typing import Any

import pytest


class Error(IntEnum):
    cudaSuccess = 0  # noqa: N815
    cudaErrorInvalidValue = 1  # noqa: N815
    cudaErrorMemoryAllocation = 2  # noqa: N815
    cudaErrorStreamCaptureInvalidated = 901  # noqa: N815


class Kind(IntEnum):
    cudaMemcpyHostToDevice = 1  # noqa: N815
    cudaMemcpyDeviceToHost = 2  # noqa: N815


class Mode(IntEnum):
    cudaStreamCaptureModeGlobal = 0  # noqa: N815
    cudaStreamCaptureModeThreadLocal = 1  # noqa: N815


class Handle:
    """A stream or a graph, which the package can turn into an int."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __int__(self) -> int:
        return self.number


class FakeCuda:
    """calls: names in order; live: what was made and not yet freed; failing: name -> how often it may still work."""

    cudaError_t, cudaMemcpyKind, cudaStreamCaptureMode = Error, Kind, Mode  # noqa: N815
    cudaStreamNonBlocking = 1  # noqa: N815

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.failing: dict[str, int] = {}
        self.live: dict[int, str] = {}
        self.numbers = itertools.count(1)  # A handle is never given twice, an address may be.
        self.memory: dict[int, Any] = {}
        self.capturing: list[Callable[[], None]] | None = None
        self.capturable = True
        self.graphs: dict[int, list[Callable[[], None]]] = {}
        self.pending: list[Callable[[], None]] = []

    def work(self, step: Callable[[], None]) -> Error:
        """Something that was put into the stream: it runs when the stream is waited for, or becomes part of a graph."""
        if self.capturing is not None:
            self.capturing.append(step)
        else:
            self.pending.append(step)
        return Error.cudaSuccess

    def answer(self, name: str) -> Error:
        self.calls.append(name)
        if name in self.failing:
            if self.failing[name] == 0:
                return Error.cudaErrorMemoryAllocation if "alloc" in name.lower() else Error.cudaErrorInvalidValue
            self.failing[name] -= 1
        return Error.cudaSuccess

    def make(self, name: str) -> tuple[Error, Handle | None]:
        error = self.answer(name)
        if error:
            return error, None
        number = next(self.numbers)
        self.live[number] = name
        return error, Handle(number)

    def free(self, name: str, number: int) -> tuple[Error]:
        error = self.answer(name)
        if not error and self.live.pop(number, None) is None:
            error = Error.cudaErrorInvalidValue
        self.graphs.pop(number, None)
        return (error,)

    def allocate(self, name: str, size: int) -> tuple[Error, int | None]:
        error = self.answer(name)
        if error or self.capturing is not None:
            return error or Error.cudaErrorStreamCaptureInvalidated, None
        block = (ctypes.c_char * size)()
        address = ctypes.addressof(block)
        self.memory[address], self.live[address] = block, name
        return error, address

    def release(self, name: str, address: int) -> tuple[Error]:
        done = self.free(name, address)
        self.memory.pop(address, None)
        return done

    def cudaStreamCreateWithFlags(self, flags: int) -> Any:  # noqa: N802
        assert flags == self.cudaStreamNonBlocking
        return self.make("cudaStreamCreateWithFlags")

    def cudaStreamDestroy(self, stream: Handle) -> Any:  # noqa: N802
        self.pending.clear()
        return self.free("cudaStreamDestroy", stream.number)

    def cudaMallocHost(self, size: int) -> Any:  # noqa: N802
        return self.allocate("cudaMallocHost", size)

    def cudaMalloc(self, size: int) -> Any:  # noqa: N802
        return self.allocate("cudaMalloc", size)

    def cudaFreeHost(self, address: int) -> Any:  # noqa: N802
        return self.release("cudaFreeHost", address)

    def cudaFree(self, address: int) -> Any:  # noqa: N802
        return self.release("cudaFree", address)

    def cudaMemcpyAsync(self, to: int, source: int, size: int, kind: Kind, stream: Handle) -> Any:  # noqa: N802
        error = self.answer("cudaMemcpyAsync")
        host, device = (source, to) if kind == Kind.cudaMemcpyHostToDevice else (to, source)
        if self.live.get(host) != "cudaMallocHost" or self.live.get(device) != "cudaMalloc":
            error = Error.cudaErrorInvalidValue
        if error or self.live.get(stream.number) != "cudaStreamCreateWithFlags":
            return (error or Error.cudaErrorInvalidValue,)
        return (self.work(lambda: ctypes.memmove(to, source, size) and None),)

    def cudaStreamSynchronize(self, stream: Handle) -> Any:  # noqa: N802
        error = self.answer("cudaStreamSynchronize")
        if self.capturing is not None:
            return (Error.cudaErrorStreamCaptureInvalidated,)
        if not error:
            for step in self.pending:
                step()
            self.pending.clear()
        return (error,)

    def cudaStreamBeginCapture(self, stream: Handle, mode: Mode) -> Any:  # noqa: N802
        assert mode == Mode.cudaStreamCaptureModeThreadLocal, "another session of the process could not take memory"
        assert not self.pending, "what was put in before is not part of the graph"
        error = self.answer("cudaStreamBeginCapture")
        if not error:
            self.capturing = []
        return (error,)

    def cudaStreamEndCapture(self, stream: Handle) -> Any:  # noqa: N802
        steps, self.capturing = self.capturing, None
        if steps is None:
            return self.answer("cudaStreamEndCapture") or Error.cudaErrorInvalidValue, None
        if not self.capturable:
            self.calls.append("cudaStreamEndCapture")
            return Error.cudaErrorStreamCaptureInvalidated, None
        error, graph = self.make("cudaStreamEndCapture")
        if graph is not None:
            self.graphs[graph.number] = steps
        return error, graph

    def cudaGraphInstantiate(self, graph: Handle, flags: int) -> Any:  # noqa: N802
        error, executable = self.make("cudaGraphInstantiate")
        if executable is not None:
            self.graphs[executable.number] = self.graphs[graph.number]
        return error, executable

    def cudaGraphDestroy(self, graph: Handle) -> Any:  # noqa: N802
        return self.free("cudaGraphDestroy", graph.number)

    def cudaGraphExecDestroy(self, graph: Handle) -> Any:  # noqa: N802
        return self.free("cudaGraphExecDestroy", graph.number)

    def cudaGraphLaunch(self, graph: Handle, stream: Handle) -> Any:  # noqa: N802
        error = self.answer("cudaGraphLaunch")
        if not error and graph.number not in self.live:
            error = Error.cudaErrorInvalidValue
        if not error:
            self.pending.extend(self.graphs[graph.number])
        return (error,)

    def cudaGetErrorString(self, error: Error) -> Any:  # noqa: N802
        return Error.cudaSuccess, {Error.cudaErrorMemoryAllocation: b"out of memory"}.get(error, b"invalid argument")

    def cudaGetLastError(self) -> Any:  # noqa: N802
        self.calls.append("cudaGetLastError")
        return (Error.cudaSuccess,)


def install(patch: pytest.MonkeyPatch) -> FakeCuda:
    """Make `from cuda.bindings import runtime` give a new fake."""
    fake, bindings = FakeCuda(), ModuleType("cuda.bindings")
    bindings.runtime = fake  # type: ignore[attr-defined]
    patch.setitem(sys.modules, "cuda.bindings", bindings)
    return fake
