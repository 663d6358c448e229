"""Triton as far as the router sees it: its Python backend's module, and a server that runs the other models.

The server believes config.pbtxt alone. It refuses what Triton refuses: unknown models and inputs, other shapes, and
batches above the largest.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnxruntime
import pytest
from google.protobuf import json_format, text_format
from numpy.typing import NDArray
from tritonclient.grpc import model_config_pb2
from tritonclient.utils import np_to_triton_dtype

Arrays = Mapping[str, NDArray[Any]]


class Tensor:
    def __init__(self, name: str, values: NDArray[Any]) -> None:
        assert isinstance(values, np.ndarray)
        self._name, self._values = name, values

    def name(self) -> str:
        return self._name

    def as_numpy(self) -> NDArray[Any]:
        return self._values


class TritonError:
    INTERNAL, NOT_FOUND, INVALID_ARG = "internal", "not found", "invalid argument"

    def __init__(self, message: str, code: str = INTERNAL) -> None:
        assert isinstance(message, str)
        self._message, self._code = message, code

    def message(self) -> str:
        return self._message

    def code(self) -> str:
        return self._code


class InferenceResponse:
    def __init__(self, output_tensors: Sequence[Tensor], error: TritonError | None = None) -> None:
        self._tensors, self._error = list(output_tensors), error

    def output_tensors(self) -> list[Tensor]:
        return self._tensors

    def has_error(self) -> bool:
        return self._error is not None

    def error(self) -> TritonError | None:
        return self._error


class Triton:
    """A server with one repository. calls: (model, batch) of what the router had run; most: how many at once."""

    def __init__(self, repository: Path, patch: pytest.MonkeyPatch, router: str = "rep") -> None:
        self.repository, self.name = repository, router
        self.calls: list[tuple[str, int]] = []
        self.request_ids: list[str] = []
        self.running = self.most = 0
        self.broken: set[str] = set()
        self._sessions: dict[str, onnxruntime.InferenceSession] = {}
        patch.setitem(sys.modules, "triton_python_backend_utils", _module(self))
        file = repository / router / "1" / "model.py"
        spec = importlib.util.spec_from_file_location("served_router", file)
        assert spec is not None
        assert spec.loader is not None
        loaded = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(loaded)
        self.router = loaded.TritonPythonModel()
        config = read_config(repository, router)
        # Triton gives sizes of 64 bits as numbers, protobuf's own JSON as strings: the router takes either.
        told = json_format.MessageToJson(config, preserving_proto_field_name=True)
        self.router.initialize({"model_config": told, "model_name": router})

    def request(self, windows: Arrays, request_id: str = "") -> Any:
        """A request as the router's clients make it."""
        tensors = [Tensor(name, values) for name, values in windows.items()]
        return _request_class(self)(
            model_name=self.name, requested_output_names=[], inputs=tensors, request_id=request_id
        )

    def answers(self, *requests: Any) -> list[InferenceResponse]:
        """One call of the router with all of them."""
        responses = asyncio.run(self.router.execute(list(requests)))
        assert isinstance(responses, list)
        assert len(responses) == len(requests)
        return responses

    def ask(self, windows: Arrays) -> dict[str, NDArray[Any]]:
        """The outputs for one request that must succeed, found to be what the configuration promises."""
        (response,) = self.answers(self.request(windows))
        assert not response.has_error(), response.error().message()
        return self.checked(response, len(next(iter(windows.values()))))

    def checked(self, response: InferenceResponse, count: int) -> dict[str, NDArray[Any]]:
        outputs = {tensor.name(): tensor.as_numpy() for tensor in response.output_tensors()}
        promised = {o.name: o for o in read_config(self.repository, self.name).output}
        assert outputs.keys() == promised.keys()
        for name, values in outputs.items():
            assert values.shape == (count, *promised[name].dims), name
            kind = model_config_pb2.DataType.Name(promised[name].data_type).replace("STRING", "BYTES")
            assert triton_type(values) == kind, name
        return outputs

    async def run(self, model: str, inputs: Arrays, wanted: Sequence[str]) -> InferenceResponse:
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0.001)
        self.running -= 1
        try:
            return InferenceResponse(self._run(model, inputs, wanted))
        except LookupError as error:
            return InferenceResponse([], TritonError(str(error.args[0]), TritonError.NOT_FOUND))
        except ValueError as error:
            return InferenceResponse([], TritonError(str(error), TritonError.INVALID_ARG))

    def _run(self, model: str, inputs: Arrays, wanted: Sequence[str]) -> list[Tensor]:
        if not (self.repository / model).is_dir() or model in self.broken:
            raise LookupError(f"Request for unknown model: '{model}' is not found")
        config = read_config(self.repository, model)
        wanted_inputs = {entry.name: entry for entry in config.input}
        if inputs.keys() != wanted_inputs.keys():
            raise ValueError(f"expected inputs {sorted(wanted_inputs)} and got {sorted(inputs)}")
        (count,) = {len(values) for values in inputs.values()}
        if count > config.max_batch_size:
            raise ValueError(f"inference request batch-size must be <= {config.max_batch_size} for '{model}'")
        for name, values in inputs.items():
            kind = model_config_pb2.DataType.Name(wanted_inputs[name].data_type)
            if list(values.shape[1:]) != list(wanted_inputs[name].dims) or kind != triton_type(values):
                raise ValueError(f"unexpected shape for input '{name}' for model '{model}'")
        self.calls.append((model, count))
        return [Tensor(name, v) for name, v in zip(wanted, self._session(model).run(wanted, inputs), strict=True)]

    def _session(self, model: str) -> onnxruntime.InferenceSession:
        if model not in self._sessions:
            file = self.repository / model / "1" / read_config(self.repository, model).default_model_filename
            self._sessions[model] = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        return self._sessions[model]


def read_config(repository: Path, model: str) -> Any:
    """config.pbtxt, parsed strictly: an unknown field or value is an error."""
    text = (repository / model / "config.pbtxt").read_text()
    return text_format.Parse(text, model_config_pb2.ModelConfig())


def triton_type(values: NDArray[Any]) -> str:
    """The configuration's name of an array's type."""
    return f"TYPE_{np_to_triton_dtype(values.dtype)}"


def triton_json(config: Any) -> dict[str, Any]:
    """The configuration as clients are told it."""
    told: dict[str, Any] = json.loads(json_format.MessageToJson(config, preserving_proto_field_name=True))
    return told


def _request_class(server: Triton) -> Any:
    class InferenceRequest:
        def __init__(
            self,
            *,
            model_name: str,
            requested_output_names: Sequence[str],
            inputs: Sequence[Tensor],
            request_id: str = "",
            preferred_memory: tuple[str, int] | None = None,
        ) -> None:
            self._model, self._wanted, self._inputs = model_name, requested_output_names, inputs
            self._request_id, self._memory = request_id, preferred_memory

        def inputs(self) -> Sequence[Tensor]:
            return self._inputs

        def request_id(self) -> str:
            return self._request_id

        async def async_exec(self) -> InferenceResponse:
            # Where the answer stays on a GPU, as_numpy fails.
            assert self._memory == ("cpu", 0)
            server.request_ids.append(self._request_id)
            inputs = {tensor.name(): tensor.as_numpy() for tensor in self._inputs}
            return await server.run(self._model, inputs, self._wanted)

    return InferenceRequest


def _module(server: Triton) -> ModuleType:
    def find(tensors: Sequence[Tensor], name: str) -> Tensor | None:
        return next((tensor for tensor in tensors if tensor.name() == name), None)

    module: Any = ModuleType("triton_python_backend_utils")
    module.Tensor, module.TritonError, module.InferenceResponse = Tensor, TritonError, InferenceResponse
    module.InferenceRequest = _request_class(server)
    module.PreferredMemory = lambda kind, device: (kind, device)
    module.TRITONSERVER_MEMORY_CPU = "cpu"
    module.get_input_tensor_by_name = lambda request, name: find(request.inputs(), name)
    module.get_output_tensor_by_name = lambda response, name: find(response.output_tensors(), name)
    loaded: ModuleType = module
    return loaded
