"""A program, to be read and run by people, that calls a Triton model repository with one window."""

from __future__ import annotations

from collections.abc import Sequence

from rep_edge.runtime.manifest import Manifest
from rep_edge.signals import Image, Modality, Text

CLIENT = """\
{imports}
client = triton.InferenceServerClient("localhost:8001")
{modalities}live = {{
{windows}
}}
{gone}inputs = []
for name, window in live.items():
    kind = "INT64" if window.dtype == np.int64 else "FP32"
    tensor = triton.InferInput(name, [1, *window.shape], kind)
    tensor.set_data_from_numpy(window[None])
    inputs.append(tensor)
answer = client.infer("{name}", inputs)
{told}
"""

PLAIN = ("import numpy as np", "import tritonclient.grpc as triton")

TOLD = {
    "multiclass": 'print(answer.as_numpy("label")[0, 0].decode(), answer.as_numpy("probabilities")[0])',
    "multilabel": 'print([label.decode() for label in answer.as_numpy("labels")[0] if label])\n'
    'print(answer.as_numpy("probabilities")[0])',
    "regression": 'print(answer.as_numpy("label")[0, 0].decode(), answer.as_numpy("value")[0, 0])',
}
"""The last lines, by task."""


def client(manifest: Manifest, name: str) -> str:
    """The program. It sends zeros, or the picture and the text that people put there; the last modality of several is
    left out, as one that is gone.

    name: of the model that it calls, in whose folder the tokenizers lie.
    """
    prepared = [m for m in manifest.modalities if isinstance(m, (Image, Text))]
    declared = "".join(f"    {m.name!r}: {m!r},\n" for m in prepared)
    last = manifest.modalities[-1].name
    return CLIENT.format(
        imports=_imports(prepared),
        modalities=f"modalities = {{\n{declared}}}\n" if prepared else "",
        windows="\n".join(f'    "{m.name}": {_window(m, name)},' for m in manifest.modalities),
        gone=f'del live["{last}"]  # What is missing is left out.\n' if len(manifest.modalities) > 1 else "",
        name=name,
        told=TOLD[manifest.task],
    )


def tokenizer_file(modality: str) -> str:
    """The name of a text's tokenizer in the folder of the model that clients call."""
    return f"tokenizer.{modality}.json"


def _imports(prepared: Sequence[Modality]) -> str:
    if not prepared:
        return "\n".join((*PLAIN, ""))
    lines = ["from pathlib import Path", "", *PLAIN, ""]
    kinds = {type(m) for m in prepared}
    if Image in kinds:
        lines.append("from rep_edge.runtime.inputs.images import prepare_image, read_image")
    if Text in kinds:
        lines.append("from rep_edge.runtime.inputs.texts import Tokenizer")
    lines.append(f"from rep_edge.signals import {', '.join(sorted(kind.__name__ for kind in kinds))}")
    return "\n".join((*lines, ""))


def _window(m: Modality, name: str) -> str:
    if isinstance(m, Image):
        return f'prepare_image(read_image(Path("{m.name}.jpg")), modalities["{m.name}"])'
    if isinstance(m, Text):
        definition = f'Path("{name}/{tokenizer_file(m.name)}").read_text(encoding="utf-8")'
        return f'Tokenizer({definition}, modalities["{m.name}"])("a few words")'
    return f"np.zeros({m.shape}, np.float32)"
