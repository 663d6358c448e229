"""Which backends and precisions a classifier tries, in which order, and why."""

from __future__ import annotations

from typing import NamedTuple

from rep_edge.errors import InputError
from rep_edge.runtime.backends.base import Backend
from rep_edge.runtime.backends.driver import missing_driver
from rep_edge.runtime.bundle import Bundle
from rep_edge.runtime.processor import fast_int8

AUTO = "auto"
NATIVE = ("tensorrt-rtx", "tensorrt")
"""Backends that need an engine."""
GPU_BACKENDS = (*NATIVE, "onnxruntime-rtx", "onnxruntime-tensorrt", "onnxruntime-cuda")
CPU_BACKEND = "onnxruntime-cpu"
BACKENDS = (*GPU_BACKENDS, CPU_BACKEND)
"""In the order in which `auto` tries them."""
PRECISIONS = ("fp32", "fp16", "int8")


class Wish(NamedTuple):
    """What the caller asks for. backend, precision: a name, or "auto"; require_gpu: the CPU will not do."""

    backend: str = AUTO
    precision: str = AUTO
    require_gpu: bool = False


class Candidate(NamedTuple):
    """A backend to try with a precision, and why it is this one."""

    backend: str
    precision: str
    why: str


class Candidates(NamedTuple):
    """What to try, the best first, and a line for each thing that is not even worth a try."""

    tried: tuple[Candidate, ...]
    passed_over: tuple[str, ...]


def find_candidates(bundle: Bundle, wish: Wish) -> Candidates:
    """What fits a wish, on this machine and for the graphs of this bundle.

    Raises InputError: a name that is none, a precision that the bundle lacks, the CPU where a GPU is required.
    """
    _check(bundle, wish)
    if wish.backend != AUTO:
        return Candidates((_candidate(bundle, wish.backend, wish.precision),), ())
    tried: tuple[Candidate, ...] = ()
    passed_over: tuple[str, ...] = ()
    missing = missing_driver()
    if missing is None:
        tried = tuple(_candidate(bundle, name, wish.precision) for name in GPU_BACKENDS)
    else:
        passed_over = (missing,)
    if not wish.require_gpu:
        tried = (*tried, _candidate(bundle, CPU_BACKEND, wish.precision))
    return Candidates(tried, passed_over)


def start_backend(name: str, threads: int = 1, prepack: bool = False) -> Backend:
    """The backend of a name. threads, prepack: of ONNX Runtime on the CPU.

    Raises InputError where it does not start here, and for a name that is none; MissingExtraError where its package is
    not installed.
    """
    if name == "onnxruntime-cpu":
        from rep_edge.runtime.backends.onnxruntime import OnnxRuntimeBackend

        return OnnxRuntimeBackend(threads, prepack)
    if name == "onnxruntime-cuda":
        from rep_edge.runtime.backends.onnxruntime_cuda import OnnxRuntimeCudaBackend

        return OnnxRuntimeCudaBackend(threads)
    if name == "onnxruntime-tensorrt":
        from rep_edge.runtime.backends.onnxruntime_tensorrt import OnnxRuntimeTensorRTBackend

        return OnnxRuntimeTensorRTBackend(threads)
    if name == "onnxruntime-rtx":
        from rep_edge.runtime.backends.onnxruntime_rtx import OnnxRuntimeRtxBackend

        return OnnxRuntimeRtxBackend(threads)
    if name in NATIVE:
        from rep_edge.runtime.backends.tensorrt import TensorRTBackend

        return TensorRTBackend(name)
    raise InputError(f"backend {name!r}: is none; choose auto or one of {', '.join(BACKENDS)}")


def _check(bundle: Bundle, wish: Wish) -> None:
    if wish.backend not in (AUTO, *BACKENDS):
        raise InputError(f"backend {wish.backend!r}: is none; choose auto or one of {', '.join(BACKENDS)}")
    if wish.precision not in (AUTO, *PRECISIONS):
        raise InputError(f"precision {wish.precision!r}: is none; choose auto or one of {', '.join(PRECISIONS)}")
    if wish.precision != AUTO:
        bundle.require_precision(wish.precision)
    if wish.require_gpu and wish.backend == CPU_BACKEND:
        raise InputError(f"{CPU_BACKEND}: is no GPU, and one is required; leave one of the two out")


def _candidate(bundle: Bundle, backend: str, precision: str) -> Candidate:
    if precision != AUTO:
        return Candidate(backend, precision, f"{precision} was asked for")
    if backend == CPU_BACKEND:
        return Candidate(backend, *_on_cpu(bundle))
    return Candidate(backend, *_on_gpu(bundle))


def _on_cpu(bundle: Bundle) -> tuple[str, str]:
    """int8 where this processor is fast at it. Never fp16, which a CPU computes by way of fp32."""
    if "int8" not in bundle.manifest.graph_precisions:
        return _fp32(bundle), "the bundle has no int8 graphs"
    instructions = fast_int8()
    if instructions is None:
        return _fp32(bundle), "this processor has no instructions for int8 products"
    return "int8", f"this processor has {instructions}"


def _on_gpu(bundle: Bundle) -> tuple[str, str]:
    """fp16 where there is. int8 costs accuracy, and what it gains over fp16 there is not known: only if asked for."""
    if "fp16" in bundle.manifest.graph_precisions:
        return "fp16", "the bundle has fp16 graphs"
    return _fp32(bundle), "the bundle has no fp16 graphs"


def _fp32(bundle: Bundle) -> str:
    if "fp32" not in bundle.manifest.graph_precisions:
        raise InputError(f"{bundle.path}: has no fp32 graphs; export the bundle again or name a precision")
    return "fp32"
