"""A bundle becomes a model repository of Triton Inference Server: one model per pattern, and one that routes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from rep_edge.errors import InputError, MissingExtraError
from rep_edge.export.triton_client import tokenizer_file
from rep_edge.export.triton_config import (
    LABELS_FILE,
    ONNX,
    PLAN,
    Kind,
    Route,
    graph_config,
    load_schema,
    router_config,
)
from rep_edge.export.triton_readme import readme
from rep_edge.files import new_folder, require_new, write_file
from rep_edge.runtime.bundle import Bundle, open_bundle
from rep_edge.runtime.manifest import EngineRecord

ROUTER = Path(__file__).with_name("triton_router.py")
DEVICES = ("auto", "gpu", "cpu")

Tell = Callable[[str], None]


class Serving(NamedTuple):
    """How a bundle is to be served.

    name: of the model that clients call, and what the others' names start with. max_batch: windows that one call may
    hold. device: where graphs run: "gpu", "cpu", or "auto", a GPU where the server has one. engines: None for ONNX
    Runtime, or the target ("sm89") whose TensorRT engines the bundle holds.
    """

    name: str = "rep"
    precision: str = "fp32"
    max_batch: int = 8
    device: str = "auto"
    engines: str | None = None


class _Graph(NamedTuple):
    """What one pattern's model runs."""

    kind: Kind
    content: bytes


def export_repository(path: Path, out: Path, serving: Serving, tell: Tell) -> dict[str, str]:
    """Write the repository of the bundle at `path` to the new folder `out`; it appears whole or not at all.

    Returns pattern -> model. Raises InputError: a damaged bundle; a precision or engines that it lacks; engines that
    Triton cannot serve or that do not take such batches; names that clash; an `out` that is there already.
    """
    _check(serving)
    require_new(out)
    load_schema()
    bundle = open_bundle(path)
    bundle.require_precision(serving.precision)
    models = model_names(bundle, serving.name)
    graphs, parameters = _graphs(bundle, serving)
    with new_folder(out) as folder:
        for pattern, model in models.items():
            _write_graph_model(folder / model, bundle, pattern, graphs[pattern], serving)
            tell(f"{pattern}: {model}, {len(graphs[pattern].content) / 1e6:.1f} MB")
        _write_router(folder / serving.name, bundle, models, serving, parameters)
        tell(f"any of {', '.join(bundle.manifest.spec.names)}: {serving.name}, the one that clients call")
        write_file(folder / "README.txt", readme(bundle.manifest, serving.name, models, parameters).encode())
    return models


def model_names(bundle: Bundle, name: str) -> dict[str, str]:
    """Pattern -> Triton's name of its model. Raises InputError where two patterns would share one."""
    spec = bundle.manifest.spec
    owners: dict[str, str] = {}
    for pattern in (spec.pattern_name(live) for live in spec.patterns()):
        model = f"{name}_{re.sub(r'[^A-Za-z0-9_]', '_', pattern)}"
        if model in owners:
            raise InputError(
                f"{bundle.path}: {owners[model]} and {pattern} would both be the model {model}; "
                "train with sensors of other names"
            )
        owners[model] = pattern
    return {pattern: model for model, pattern in owners.items()}


def _check(serving: Serving) -> None:
    if not re.fullmatch(r"[A-Za-z0-9_-]+", serving.name):
        raise InputError(f"name {serving.name!r}: a model's name has letters, digits, _ and - alone; choose another")
    if serving.max_batch < 1:
        raise InputError(f"max-batch: must be at least 1, not {serving.max_batch}")
    if serving.device not in DEVICES:
        raise InputError(f"device {serving.device!r}: must be one of {', '.join(DEVICES)}")
    if serving.engines is not None and serving.device == "cpu":
        raise InputError("device cpu: TensorRT engines run on a GPU; leave --device or --engines out")


def _graphs(bundle: Bundle, serving: Serving) -> tuple[dict[str, _Graph], dict[str, str]]:
    """Pattern -> what its model runs, and what the router's configuration tells people about them."""
    spec, told = bundle.manifest.spec, {"precision": serving.precision}
    patterns = [spec.pattern_name(pattern) for pattern in spec.patterns()]
    if serving.engines is None:
        return {p: _Graph(ONNX, _standalone(bundle, p, serving.precision)) for p in patterns}, told
    engines = _engines(bundle, patterns, serving.precision, serving.engines)
    for engine in engines.values():
        _require_batches(bundle, engine, serving.max_batch)
    version = next(iter(engines.values())).backend_version
    graphs = {p: _Graph(PLAN, (bundle.path / engine.file.path).read_bytes()) for p, engine in engines.items()}
    return graphs, {**told, "engines": serving.engines, "tensorrt": version}


def _standalone(bundle: Bundle, pattern: str, precision: str) -> bytes:
    """A graph with the weights inside that it reads, so that its model needs no other file."""
    try:
        import onnx
    except ImportError as error:
        raise MissingExtraError("triton", "onnx") from error
    file = bundle.graph_file(pattern, precision)
    model = onnx.load(file)
    for value in (*model.graph.input, *model.graph.output):
        if not value.type.tensor_type.shape.dim[0].dim_param:
            raise InputError(f"{file}: {value.name} has a batch of fixed size; export the bundle again")
    return bytes(model.SerializeToString())


def _engines(bundle: Bundle, patterns: list[str], precision: str, target: str) -> dict[str, EngineRecord]:
    """Pattern -> the engine of its present graph; one TensorRT runs them all."""
    wanted = f"{target} {precision}"
    fitting = [e for e in bundle.manifest.engines if (e.compute_capability, e.precision) == (target, precision)]
    native = {e.pattern: e for e in fitting if e.backend == "tensorrt"}
    mend = f"build them with  rep-edge compile {bundle.path} --backend tensorrt --target {target}"
    if fitting and not native:
        raise InputError(
            f"{bundle.path}: its {wanted} engines are of TensorRT for RTX, which Triton's TensorRT backend cannot run; "
            f"leave --engines out, or {mend}"
        )
    for pattern in patterns:
        if pattern not in native:
            there = sorted({f"{e.compute_capability} {e.precision} ({e.backend})" for e in bundle.manifest.engines})
            listed = f"only {', '.join(there)}" if there else "and no other"
            raise InputError(f"{bundle.path}: has no {wanted} engine for {pattern}, {listed}; {mend}")
        if native[pattern].graph_sha256 != bundle.graph(pattern, precision).file.sha256:
            raise InputError(f"{bundle.path}: its {wanted} engine for {pattern} is of an older graph; {mend}")
    versions = sorted({native[pattern].backend_version for pattern in patterns})
    if len(versions) > 1:
        raise InputError(f"{bundle.path}: its {wanted} engines are of TensorRT {' and '.join(versions)}; {mend}")
    return {pattern: native[pattern] for pattern in patterns}


def _require_batches(bundle: Bundle, engine: EngineRecord, max_batch: int) -> None:
    least, _, largest = engine.batch
    if least > 1 or largest < max_batch:
        raise InputError(
            f"{bundle.path / engine.file.path}: takes batches of {least} to {largest}, not of 1 to {max_batch}; "
            + (f"give --max-batch {largest}, or compile it again" if least == 1 else "compile it again from batch 1")
        )


def _write_graph_model(folder: Path, bundle: Bundle, pattern: str, graph: _Graph, serving: Serving) -> None:
    spec, manifest = bundle.manifest.spec, bundle.manifest
    live = [m for m in spec.modalities if m.name in spec.parse_pattern(pattern)]
    # TensorRT's backend knows no other place.
    device = "gpu" if graph.kind is PLAN else serving.device
    config = graph_config(folder.name, graph.kind, live, manifest, serving.max_batch, device)
    labels = _lines(manifest.labels)
    _write_model(folder, {f"1/{graph.kind.file}": graph.content, "config.pbtxt": config, LABELS_FILE: labels})


def _write_router(
    folder: Path, bundle: Bundle, models: Mapping[str, str], serving: Serving, parameters: Mapping[str, str]
) -> None:
    manifest = bundle.manifest
    routes = {pattern: Route(model, manifest.temperatures.get(pattern, 1.0)) for pattern, model in models.items()}
    config = router_config(folder.name, manifest, routes, serving.max_batch, parameters)
    tokenizers = {
        tokenizer_file(name): (bundle.path / record.path).read_bytes() for name, record in manifest.tokenizers.items()
    }
    files = {"1/model.py": ROUTER.read_bytes(), "config.pbtxt": config, LABELS_FILE: _lines(manifest.labels)}
    _write_model(folder, {**files, **tokenizers})


def _write_model(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        write_file(folder / name, content)


def _lines(labels: tuple[str, ...]) -> bytes:
    """One label a line."""
    return "".join(f"{' '.join(label.splitlines())}\n" for label in labels).encode()
