"""The page for people that lies in a Triton model repository: how to serve it, and a client that works."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import indent

from rep_edge.export.triton_client import client, tokenizer_file
from rep_edge.runtime.manifest import Manifest
from rep_edge.signals import Image, Modality, Text

TEXT = """\
Model repository of Triton Inference Server, written by rep-edge export-triton.

Serve it, in Triton's container with its Python and {backend} backends, from this folder:

    tritonserver --model-repository=.
{note}
Clients call the model {name}. Every input is optional: send {there}.

{inputs}

It answers, for each {window} of the batch: {answers},
and pattern, which tells the graph that was used. A request without any input,
with {bad} is refused.
{preparing}
{models}

A client in Python (pip install {packages}"tritonclient[grpc]" numpy):

{client}"""

ANSWERS = {
    "multiclass": "probabilities and logits float32 [{outputs}], label (its name), label_index",
    "multilabel": "probabilities (of each label by itself) and logits float32 [{outputs}],\n"
    "labels [{outputs}] (the names of those from 0.5 on, the most probable first, then empty ones), label\n"
    "(the most probable), label_index",
    "regression": "value float32 [1],\nlabel (the side of zero that it is on: {sides}), label_index",
}
"""By task."""

PREPARING = """
Send them as they were prepared for training, which rep-edge does on the client too
(pip install "rep-edge[vision-language]"):

{lines}
"""


def readme(manifest: Manifest, name: str, models: Mapping[str, str], parameters: Mapping[str, str]) -> str:
    """README.txt of a repository. parameters: what the router's configuration tells about its graphs."""
    plans = "tensorrt" in parameters
    prepared = [line for m in manifest.modalities for line in _preparation(m, name)]
    return TEXT.format(
        backend="TensorRT" if plans else "ONNX Runtime",
        note=_engine_note(parameters) if plans else "",
        name=name,
        there="the sensors that are live" if manifest.hop_s else "those that are there",
        inputs="\n".join(_input_line(modality) for modality in manifest.modalities),
        window="window" if manifest.hop_s else "example",
        answers=ANSWERS[manifest.task].format(outputs=manifest.outputs, sides=" or ".join(manifest.labels)),
        bad=_refused(manifest),
        preparing=PREPARING.format(lines="\n".join(prepared)) if prepared else "",
        models="\n".join(
            f"    {pattern}: {model}, precision {parameters['precision']}" for pattern, model in models.items()
        ),
        packages='"rep-edge[vision-language]" ' if prepared else "",
        client=indent(client(manifest, name), "    "),
    )


def _refused(manifest: Manifest) -> str:
    kinds = {m.dtype for m in manifest.modalities}
    numbers = {"float32": "with a NaN", "int64": "with an unknown id"}
    first = "one of another shape"
    *some, last = [first, *(told for dtype, told in numbers.items() if dtype in kinds)]
    return f"{', '.join(some)} or {last}"


def _preparation(m: Modality, name: str) -> list[str]:
    if isinstance(m, Image):
        return [f"    {m.name}: rep_edge.runtime.inputs.images reads and prepares a picture's file"]
    if isinstance(m, Text):
        file = f"{name}/{tokenizer_file(m.name)}"
        return [f"    {m.name}: rep_edge.runtime.inputs.texts makes a text's ids, with {file}"]
    return []


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
