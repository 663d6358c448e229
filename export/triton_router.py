"""The model that Triton's clients call: it runs, for each request, the graph of the sensors that were sent.

Triton's Python backend runs a copy of this file where rep-edge is not installed: numpy is all it may need.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils  # type: ignore[import-not-found]  # Only there inside Triton.
from numpy.typing import NDArray


class _RefusalError(Exception):
    """A request that cannot be answered: why, and Triton's code for it."""

    def __init__(self, message: str, code: Any) -> None:
        super().__init__(message)
        self.code = code


class TritonPythonModel:
    """Optional windows float32 [B, channels, samples] in; logits, probabilities, label and pattern of each out."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read what config.pbtxt says: the windows' shapes, the labels, and pattern -> model and temperature."""
        config = json.loads(args["model_config"])
        told = {name: parameter["string_value"] for name, parameter in config["parameters"].items()}
        self._shapes = {entry["name"]: tuple(map(int, entry["dims"])) for entry in config["input"]}
        self._labels = np.array([label.encode() for label in json.loads(told["labels"])], dtype=np.object_)
        self._routes: dict[str, dict[str, Any]] = json.loads(told["routes"])

    async def execute(self, requests: list[Any]) -> list[Any]:
        """All requests are in flight at once, so that Triton can batch those of one pattern."""
        return list(await asyncio.gather(*(self._respond(request) for request in requests)))

    async def _respond(self, request: Any) -> Any:
        """What went wrong with one request is told to that request alone."""
        try:
            live = self._live(request)
            pattern = "+".join(live)
            route = self._routes[pattern]
            logits = await _infer(route["model"], list(live.values()), request.request_id())
            return pb_utils.InferenceResponse(output_tensors=self._outputs(logits, pattern, route["temperature"]))
        except _RefusalError as refused:
            error = pb_utils.TritonError(str(refused), refused.code)
        except Exception as fault:  # Raised here, it would fail every other request of the batch.
            error = pb_utils.TritonError(f"{type(fault).__name__}: {fault}", pb_utils.TritonError.INTERNAL)
        return pb_utils.InferenceResponse(output_tensors=[], error=error)

    def _live(self, request: Any) -> dict[str, Any]:
        """The tensors that were sent, in modality order, found to be windows of one batch."""
        live: dict[str, Any] = {}
        sizes: dict[str, int] = {}
        for name, shape in self._shapes.items():
            tensor = pb_utils.get_input_tensor_by_name(request, name)
            if tensor is None:
                continue
            values = tensor.as_numpy()
            if values.dtype != np.float32 or values.ndim != 3 or values.shape[1:] != shape or not len(values):
                wanted = ", ".join(map(str, shape))
                raise _invalid(f"{name}: is {values.dtype} {list(values.shape)} instead of float32 [batch, {wanted}]")
            if not np.isfinite(values).all():
                raise _invalid(f"{name}: holds a NaN or an infinity; leave the modality out instead")
            live[name], sizes[name] = tensor, len(values)
        if not live:
            raise _invalid(f"no live modality: send at least one of {', '.join(self._shapes)}")
        if len(set(sizes.values())) > 1:
            raise _invalid(f"windows of one request must be equally many, not {sizes}")
        return live

    def _outputs(self, logits: NDArray[np.float32], pattern: str, temperature: float) -> list[Any]:
        if not np.isfinite(logits).all():
            raise _invalid(f"{pattern}: the windows' samples are too large to be computed with; scale them")
        probabilities = _softmax(logits, temperature)
        best = probabilities.argmax(axis=-1)[:, None]
        patterns = np.full(best.shape, pattern.encode(), dtype=np.object_)
        return [
            pb_utils.Tensor("probabilities", probabilities.astype(np.float32)),
            pb_utils.Tensor("logits", logits),
            pb_utils.Tensor("label", self._labels[best]),
            pb_utils.Tensor("label_index", best.astype(np.int32)),
            pb_utils.Tensor("pattern", patterns),
        ]


async def _infer(model: str, windows: list[Any], request_id: str) -> NDArray[np.float32]:
    """The logits of another model of this server, float32 [B, classes], in the host's memory."""
    request = pb_utils.InferenceRequest(
        model_name=model,
        requested_output_names=["logits"],
        inputs=windows,
        request_id=request_id,
        preferred_memory=pb_utils.PreferredMemory(pb_utils.TRITONSERVER_MEMORY_CPU, 0),
    )
    response = await request.async_exec()
    if response.has_error():
        raise _RefusalError(f"{model}: {response.error().message()}", response.error().code())
    logits: NDArray[np.float32] = pb_utils.get_output_tensor_by_name(response, "logits").as_numpy()
    return logits


def _invalid(message: str) -> _RefusalError:
    return _RefusalError(message, pb_utils.TritonError.INVALID_ARG)


def _softmax(logits: NDArray[np.float32], temperature: float) -> NDArray[np.float64]:
    """exp(z / T) / sum exp(z / T) over the classes of logits [B, C], without overflow."""
    scaled = logits.astype(np.float64) / temperature
    raised = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=-1, keepdims=True))
