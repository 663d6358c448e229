"""Triton's network side, before the router of a fake server, and the README's client that calls it."""

from __future__ import annotations

from concurrent import futures
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import grpc
import numpy as np
from fake_triton import Triton
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import np_to_triton_dtype, serialize_byte_tensor, triton_to_np_dtype


class Service(service_pb2_grpc.GRPCInferenceServiceServicer):
    """Triton's network side, before the router."""

    def __init__(self, triton: Triton) -> None:
        self.triton = triton

    def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802
        pairs = zip(request.inputs, request.raw_input_contents, strict=True)
        windows = {t.name: np.frombuffer(raw, triton_to_np_dtype(t.datatype)).reshape(t.shape) for t, raw in pairs}
        assert request.model_name == self.triton.name
        outputs = self.triton.ask(windows)
        answer = service_pb2.ModelInferResponse(model_name=request.model_name)
        for name, values in outputs.items():
            answer.outputs.add(name=name, datatype=np_to_triton_dtype(values.dtype), shape=values.shape)
            raw = serialize_byte_tensor(values).item() if values.dtype == object else values.tobytes()
            answer.raw_output_contents.append(raw)
        return answer


def run_client(triton: Triton, shown: str) -> str:
    """What the indented program of the README prints when it calls the server."""
    server = grpc.server(futures.ThreadPoolExecutor(1))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Service(triton), server)
    port = server.add_insecure_port("localhost:0")
    server.start()
    printed = StringIO()
    program = "".join(f"{line[4:]}\n" for line in shown.splitlines()).replace(":8001", f":{port}")
    try:
        with redirect_stdout(printed):
            exec(compile(program, "README.txt", "exec"), {})
    finally:
        server.stop(None).wait()
    return printed.getvalue()
