"""The model that Triton's clients call: it runs, for each request, the graph of the modalities that were sent.

Triton's Python backend runs a copy of this file where rep-edge is not installed: numpy is all it may need.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any, NamedTuple

import numpy as np
import triton_python_backend_utils as pb_utils  # type: ignore[import-not-found]  # Only there inside Triton.
from numpy.typing import NDArray

DTYPES = {"TYPE_FP32": "float32", "TYPE_INT64": "int64"}
GIVEN = 0.5
"""Probability from which a label counts as given where several may apply."""


class _Input(NamedTuple):
    """A modality. shape: of one window; ids: how many there are, where its numbers are ids."""

    shape: tuple[int, ...]
    dtype: str
    ids: int | None


class _RefusalError(Exception):
    """A request that cannot be answered: why, and Triton's code for it."""

    def __init__(self, message: str, code: Any) -> None:
        super().__init__(message)
        self.code = code


class TritonPythonModel:
    """Optional windows [B, *shape of the modality] in; what the task asks for and the pattern of each out."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read what config.pbtxt says: the windows, the task, the labels, and pattern -> model and temperature."""
        config = json.loads(args["model_config"])
        told = {name: parameter["string_value"] for name, parameter in config["parameters"].items()}
        ids = json.loads(told["vocabularies"])
        self._inputs = {
            e["name"]: _Input(tuple(map(int, e["dims"])), DTYPES[e["data_type"]], ids.get(e["name"]))
            for e in config["input"]
        }
        self._task = told["task"]
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
        for name, wanted in self._inputs.items():
            tensor = pb_utils.get_input_tensor_by_name(request, name)
            if tensor is None:
                continue
            values = tensor.as_numpy()
            _require_fit(name, wanted, values)
            live[name], sizes[name] = tensor, len(values)
        if not live:
            raise _invalid(f"no live modality: send at least one of {', '.join(self._inputs)}")
        if len(set(sizes.values())) > 1:
            raise _invalid(f"windows of one request must be equally many, not {sizes}")
        return live

    def _outputs(self, logits: NDArray[np.float32], pattern: str, temperature: float) -> list[Any]:
        if not np.isfinite(logits).all():
            raise _invalid(f"{pattern}: the windows' samples are too large to be computed with; scale them")
        answers = self._values(logits) if self._task == "regression" else self._probabilities(logits, temperature)
        answers["label"] = self._labels[answers["label_index"]]
        answers["pattern"] = np.full((len(logits), 1), pattern.encode(), dtype=np.object_)
        return [pb_utils.Tensor(name, values) for name, values in answers.items()]

    def _values(self, logits: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        """The values [B, 1], and the label of the side of zero that each is on."""
        return {"value": logits, "label_index": (logits > 0).astype(np.int32)}

    def _probabilities(self, logits: NDArray[np.float32], temperature: float) -> dict[str, NDArray[Any]]:
        """Those of the labels [B, C], and which is the most probable; where several may apply, those that do."""
        several = self._task == "multilabel"
        found = _sigmoid(logits, temperature) if several else _softmax(logits, temperature)
        best = found.argmax(axis=-1)[:, None].astype(np.int32)
        answers = {"probabilities": found.astype(np.float32), "logits": logits, "label_index": best}
        return answers | {"labels": self._given(found)} if several else answers

    def _given(self, probabilities: NDArray[np.float64]) -> NDArray[np.object_]:
        """The names of the labels that apply, the most probable first, then empty ones: [B, C]."""
        order = np.argsort(-probabilities, axis=-1, kind="stable")
        reached = np.take_along_axis(probabilities, order, axis=-1) >= GIVEN
        return np.where(reached, self._labels[order], b"")


def _require_fit(name: str, wanted: _Input, values: NDArray[Any]) -> None:
    """Refuse what is no batch of windows of a modality."""
    if values.dtype != wanted.dtype or values.shape != (*values.shape[:1], *wanted.shape) or not values.size:
        shape = ", ".join(map(str, ("batch", *wanted.shape)))
        raise _invalid(f"{name}: is {values.dtype} {list(values.shape)} instead of {wanted.dtype} [{shape}]")
    if wanted.ids is not None:
        if values.min() < 0 or values.max() >= wanted.ids:
            raise _invalid(f"{name}: holds ids outside 0 to {wanted.ids - 1}; use the tokenizer of this repository")
    elif not np.isfinite(values).all():
        raise _invalid(f"{name}: holds a NaN or an infinity; leave the modality out instead")


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


def _sigmoid(logits: NDArray[np.float32], temperature: float) -> NDArray[np.float64]:
    """1 / (1 + exp(-z / T)) of each logit, without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * logits.astype(np.float64) / temperature)))
