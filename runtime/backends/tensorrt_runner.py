"""One TensorRT engine, ready to run window after window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rep_edge.errors import InputError
from rep_edge.runtime.backends.cuda_calls import Cuda, capture_graph, copy_in, copy_out, make_buffer, make_stream
from rep_edge.runtime.backends.tensorrt_kernels import KernelCache, capture_by_itself
from rep_edge.runtime.engines.library import TensorRT
from rep_edge.runtime.engines.listening import listener
from rep_edge.signals import Example, Modality

OUTPUT = "logits"
TYPES = {"float32": "FLOAT", "int64": "INT64"}
"""dtype -> TensorRT's name of it."""


class TensorRTRunner:
    """An engine with its own stream and with memory for one window, taken once; several windows go one by one.

    With TensorRT the copies and the engine are one CUDA graph, with TensorRT for RTX the library makes its own. note:
    why there is no such graph, or "" where there is.
    """

    def __init__(
        self, library: TensorRT, plan: bytes, live: Sequence[Modality], name: str, kernels: Path | None
    ) -> None:
        """plan: the engine; live: the modalities that it takes; name: what messages call the engine; kernels: file in
        which TensorRT for RTX keeps what it compiles, None for nowhere.

        Raises InputError where the engine does not fit this library, this GPU or these modalities; nothing is left
        behind.
        """
        self.note = ""
        self._name = name
        self._held = ExitStack()
        self._owned: list[Any] = []
        self._context: Any = None
        self._graph: Any = None
        try:
            self._open(library, plan, live, kernels)
        except BaseException:
            with suppress(InputError):
                self.close()
            raise

    def run(self, windows: Mapping[str, Example]) -> NDArray[np.float32]:
        """Live windows, each [B, *shape], to logits [B, outputs]. Raises InputError where a call fails."""
        count = len(next(iter(windows.values())))
        logits = np.empty((count, self._output.host.shape[-1]), np.float32)
        for i in range(count):
            for name, buffer in self._inputs.items():
                # A text may come cut behind its end; engines take it whole.
                window = windows[name][i]
                buffer.host[0, : len(window)] = window
                buffer.host[0, len(window) :] = 0
            if self._graph is None:
                self._enqueue()
            else:
                self._cuda.call("cudaGraphLaunch", self._graph, self._stream)
            self._cuda.call("cudaStreamSynchronize", self._stream)
            logits[i] = self._output.host[0]
        return logits

    def close(self) -> None:
        """Give back graph, memory, stream and engine, in this order. Raises InputError where CUDA refuses."""
        self._held.close()

    def __del__(self) -> None:
        # While Python ends, modules may be gone already; the driver then frees all by itself.
        with suppress(Exception):
            self.close()

    def _open(self, library: TensorRT, plan: bytes, live: Sequence[Modality], kernels: Path | None) -> None:
        self._cuda = Cuda()
        self._stream = make_stream(self._cuda, self._held)  # Before TensorRT, which needs the context that this makes.
        engine = self._deserialize(library, plan)
        self._check_tensors(library, engine, {m.name: m.dtype for m in live})
        cache = self._own(KernelCache(kernels))
        config = self._own(cache.configure(library.module, engine))
        context = engine.create_execution_context() if config is None else engine.create_execution_context(config)
        self._context = self._own(self._there(context, "makes no execution context (is the GPU's memory full?)"))
        for m in live:
            shape = (1, *m.shape)
            self._there(self._context.set_input_shape(m.name, shape), f"does not take {m.name} of shape {list(shape)}")
        self._inputs = {m.name: make_buffer(self._cuda, (1, *m.shape), m.dtype, self._held) for m in live}
        self._output = make_buffer(self._cuda, self._output_shape(), "float32", self._held)
        for name, buffer in (*self._inputs.items(), (OUTPUT, self._output)):
            self._there(self._context.set_tensor_address(name, buffer.device), f"does not take memory for {name}")
        # The first run is no part of a graph: in it TensorRT sets up what may not be set up while one is captured.
        self._enqueue()
        self._cuda.call("cudaStreamSynchronize", self._stream)
        cache.save()
        self.note = cache.problem
        if not capture_by_itself(library.module, config):
            self._capture()

    def _deserialize(self, library: TensorRT, plan: bytes) -> Any:
        heard = listener(library.module)
        heard.errors.clear()
        runtime = self._own(library.module.Runtime(heard.logger))
        if library.backend == "tensorrt":
            # Engines for later versions too carry the part of TensorRT that they need.
            runtime.engine_host_code_allowed = True
        engine = runtime.deserialize_cuda_engine(plan)
        if engine is None:
            said = " ".join(heard.errors[0].split()) if heard.errors else "it does not say why"
            raise InputError(
                f"{self._name}: {library.backend} {library.version} cannot open the engine ({said}); "
                "build it again with  rep-edge compile"
            )
        return self._own(engine)

    def _check_tensors(self, library: TensorRT, engine: Any, live: Mapping[str, str]) -> None:
        """live: modality to its dtype."""
        wanted = {**live, OUTPUT: "float32"}
        names = {engine.get_tensor_name(i) for i in range(engine.num_io_tensors)}
        if names != wanted.keys():
            raise InputError(
                f"{self._name}: the engine has {', '.join(sorted(names))} instead of "
                f"{', '.join(sorted(wanted))}; build it again with  rep-edge compile"
            )
        for name, dtype in sorted(wanted.items()):
            kind = engine.get_tensor_dtype(name)
            if kind != getattr(library.module.DataType, TYPES[dtype]):
                raise InputError(
                    f"{self._name}: the engine has {name} in {kind} instead of {dtype}; export the bundle again"
                )

    def _output_shape(self) -> tuple[int, ...]:
        shape = tuple(int(size) for size in self._context.get_tensor_shape(OUTPUT))
        if len(shape) != 2 or shape[0] != 1 or shape[1] < 1:
            raise InputError(f"{self._name}: the engine gives {list(shape)} for one window; export the bundle again")
        return shape

    def _enqueue(self) -> None:
        """Copies, engine and copy back, put into the stream."""
        for buffer in self._inputs.values():
            copy_in(self._cuda, buffer, self._stream)
        self._there(self._context.execute_async_v3(int(self._stream)), "does not run")
        copy_out(self._cuda, self._output, self._stream)

    def _capture(self) -> None:
        capturable = getattr(self._context, "is_stream_capturable", None)
        if capturable is not None and not capturable(int(self._stream)):
            self.note = "no CUDA graph: TensorRT says that this engine cannot be captured"
            return
        try:
            self._graph = capture_graph(self._cuda, self._stream, self._enqueue, self._held)
        except InputError as error:
            self.note = f"no CUDA graph: {error}"

    def _own(self, thing: Any) -> Any:
        """Keep one of TensorRT's objects until what was made after it is gone."""
        self._owned.append(thing)
        self._held.callback(self._disown)
        return thing

    def _disown(self) -> None:
        self._context = None  # The youngest of them.
        self._owned.pop()

    def _there(self, given: Any, otherwise: str) -> Any:
        """What TensorRT gave. It says None or False where it could not."""
        if given is None or given is False:
            raise InputError(f"{self._name}: the engine {otherwise}; build it again with  rep-edge compile")
        return given
