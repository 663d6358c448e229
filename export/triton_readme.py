"""The page for people that lies in a Triton model repository: how to serve it, and a client that works."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import indent

from rep_edge.runtime.manifest import Manifest
from rep_edge.signals import Modality

CLIENT = """\
import numpy as np
import tritonclient.grpc as triton

client = triton.InferenceServerClient("localhost:8001")
shapes = {shapes}
live = {{name: np.zeros((1, *shape), np.float32) for name, shape in shapes.items()}}
del live["{gone}"]  # A sensor that is gone: leave it out.
inputs = []
for name, windows in live.items():
    tensor = triton.InferInput(name, windows.shape, "FP32")
    tensor.set_data_from_numpy(windows)
    inputs.append(tensor)
answer = client.infer("{name}", inputs)
print(answer.as_numpy("label")[0, 0].decode(), answer.as_numpy("probabilities")[0])
"""

TEXT = """\
Model repository of Triton Inference Server, written by rep-edge export-triton.

Serve it, in Triton's container with its Python and {backend} backends, from this folder:

    tritonserver --model-repository=.
{note}
Clients call the model {name}. Every input is optional: send the sensors that are live.

{inputs}

It answers, for each window of the batch: probabilities and logits float32 [{classes}], label (its name), label_index,
and pattern, which tells the graph that was used. A request without a sensor,
with a window of another shape or with a NaN is refused.

{models}

A client in Python (pip install "tritonclient[grpc]" numpy):

{client}"""


def readme(manifest: Manifest, name: str, models: Mapping[str, str], parameters: Mapping[str, str]) -> str:
    """README.txt of a repository. parameters: what the router's configuration tells about its graphs."""
    plans = "tensorrt" in parameters
    return TEXT.format(
        backend="TensorRT" if plans else "ONNX Runtime",
        note=_engine_note(parameters) if plans else "",
        name=name,
        inputs="\n".join(_input_line(modality) for modality in manifest.modalities),
        classes=len(manifest.labels),
        models="\n".join(
            f"    {pattern}: {model}, precision {parameters['precision']}" for pattern, model in models.items()
        ),
        client=indent(client(manifest, name), "    "),
    )


def client(manifest: Manifest, name: str) -> str:
    """A program that sends one window of silence, the last sensor of several left out."""
    shapes = {modality.name: modality.shape for modality in manifest.modalities}
    text = CLIENT.format(shapes=shapes, gone=list(shapes)[-1], name=name)
    if len(shapes) == 1:
        text = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("del "))
    return text


def _engine_note(parameters: Mapping[str, str]) -> str:
    target, version = parameters["engines"], parameters["tensorrt"]
    gpus = f"{target.removesuffix('+')} and later" if target.endswith("+") else target
    if not version.endswith("+"):
        return (
            f"\nThe engines run on {gpus} GPUs and with TensorRT {version} alone: choose the container that has it.\n"
        )
    return (
        f"\nThe engines run on {gpus} GPUs and with TensorRT {version.removesuffix(chr(43))} or a later one of its\n"
        "major version, if the server is started with --backend-config=tensorrt,version-compatible=true.\n"
    )


def _input_line(m: Modality) -> str:
    shape = f"{m.dtype} [{', '.join(['batch', *map(str, m.shape)])}]"
    return f"    {m.name}: {shape}, {m.description}"
