"""Calls to the CUDA runtime, each of them checked."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rep_edge.errors import InputError, MissingExtraError


class CudaError(InputError):
    """A call to CUDA failed; the message names the call."""


class Cuda:
    """cuda.bindings.runtime on the first GPU. Raises MissingExtraError without cuda-bindings."""

    def __init__(self) -> None:
        try:
            from cuda.bindings import runtime
        except ImportError as error:
            raise MissingExtraError("rtx", "cuda-bindings") from error
        self.runtime: Any = runtime

    def call(self, name: str, *arguments: object) -> Any:
        """What the call gives beside its error code, None for nothing. Raises CudaError for any code but success."""
        code, *values = getattr(self.runtime, name)(*arguments)
        if code != self.runtime.cudaError_t.cudaSuccess:
            raise CudaError(f"{name}: {self._describe(code)}; run  rep-edge doctor  and report what it prints")
        return values[0] if values else None

    def _describe(self, code: Any) -> str:
        _, text = self.runtime.cudaGetErrorString(code)
        return f"{getattr(code, 'name', code)}, {text.decode(errors='replace') if isinstance(text, bytes) else text}"


class Buffer(NamedTuple):
    """Memory of one tensor: `host` is pinned, so that copies need not stop at the driver; `device`: address."""

    host: NDArray[Any]
    host_address: int
    device: int


def make_stream(cuda: Cuda, held: ExitStack) -> Any:
    """A stream that waits for no other; `held` destroys it."""
    stream = cuda.call("cudaStreamCreateWithFlags", cuda.runtime.cudaStreamNonBlocking)
    held.callback(cuda.call, "cudaStreamDestroy", stream)
    return stream


def make_buffer(cuda: Cuda, shape: tuple[int, ...], dtype: str, held: ExitStack) -> Buffer:
    """Memory, filled with zeros, for an array of this shape and dtype on both sides; `held` frees it."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    host_address = int(cuda.call("cudaMallocHost", size))
    held.callback(cuda.call, "cudaFreeHost", host_address)
    device = int(cuda.call("cudaMalloc", size))
    held.callback(cuda.call, "cudaFree", device)
    host = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(host_address)).view(dtype).reshape(shape)
    host[...] = 0
    return Buffer(host, host_address, device)


def copy_in(cuda: Cuda, buffer: Buffer, stream: Any) -> None:
    """Host to GPU, in the stream's turn."""
    kind = cuda.runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
    cuda.call("cudaMemcpyAsync", buffer.device, buffer.host_address, buffer.host.nbytes, kind, stream)


def copy_out(cuda: Cuda, buffer: Buffer, stream: Any) -> None:
    """GPU to host, in the stream's turn."""
    kind = cuda.runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
    cuda.call("cudaMemcpyAsync", buffer.host_address, buffer.device, buffer.host.nbytes, kind, stream)


def capture_graph(cuda: Cuda, stream: Any, enqueue: Callable[[], None], held: ExitStack) -> Any:
    """What `enqueue` puts into the stream as one CUDA graph, ready to be launched; `held` destroys it.

    Raises InputError where that cannot be captured; the stream is then as it was.
    """
    # Thread-local, so that another session of this process may take memory meanwhile.
    mode = cuda.runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
    cuda.call("cudaStreamBeginCapture", stream, mode)
    try:
        enqueue()
    except InputError:
        _abandon_capture(cuda, stream)
        raise
    try:
        graph = cuda.call("cudaStreamEndCapture", stream)
    except CudaError:
        _forget_error(cuda)
        raise
    try:
        executable = cuda.call("cudaGraphInstantiate", graph, 0)
    except CudaError:
        _forget_error(cuda)
        raise
    finally:
        cuda.call("cudaGraphDestroy", graph)
    held.callback(cuda.call, "cudaGraphExecDestroy", executable)
    return executable


def _abandon_capture(cuda: Cuda, stream: Any) -> None:
    """A stream stays in capture, and refuses all other work, until the capture is ended."""
    with suppress(CudaError):
        graph = cuda.call("cudaStreamEndCapture", stream)
        if graph is not None and int(graph):
            cuda.call("cudaGraphDestroy", graph)
    _forget_error(cuda)


def _forget_error(cuda: Cuda) -> None:
    """The next call would return the last error again."""
    cuda.runtime.cudaGetLastError()
