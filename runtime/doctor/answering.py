"""One question of the doctor, answered in this process: python -m rep_edge.runtime.doctor.answering start NAME."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from rep_edge.errors import InputError
from rep_edge.runtime.bundle import Bundle, open_bundle
from rep_edge.runtime.choosing import NATIVE, Wish, start_backend
from rep_edge.runtime.classifier import start_classifier
from rep_edge.runtime.doctor.apart import ANSWER
from rep_edge.runtime.doctor.one_node import ANSWER as EXPECTED
from rep_edge.runtime.doctor.one_node import PATTERN, PRECISION, WINDOW, write_one_node

Answer = dict[str, Any]


def start(name: str) -> Answer:
    """Run the one-node graph on a backend: what it ran on, or the problem."""
    with tempfile.TemporaryDirectory() as folder:
        bundle = write_one_node(Path(folder))
        try:
            backend = start_backend(name)
            if name in NATIVE:
                _build_engine(bundle, name)
            runner = backend.open(bundle, PATTERN, PRECISION)
            logits = runner.run({PATTERN: WINDOW})
            runner.close()
        except InputError as error:
            return {"problem": _without(folder, error)}
        if not (logits.shape == EXPECTED.shape and (logits == EXPECTED).all()):
            return {"problem": f"computes {logits.tolist()} where {EXPECTED.tolist()} is right; do not use it"}
        return {"told": ", ".join(filter(None, (backend.device, runner.note)))}


def build(name: str) -> Answer:
    """Build the one-node engine for every GPU that tensorrt-rtx offers: their list, or the problem."""
    from rep_edge.runtime.engines.build import BatchRange, build_engine
    from rep_edge.runtime.engines.library import find_tensorrt
    from rep_edge.runtime.engines.targets import offered_targets

    with tempfile.TemporaryDirectory() as folder:
        bundle = write_one_node(Path(folder))
        try:
            library = find_tensorrt(name)
            targets = offered_targets(library)
            for target in targets:
                build_engine(library, bundle.graph_file(PATTERN, PRECISION), BatchRange(1, 1, 1), target)
        except InputError as error:
            return {"problem": _without(folder, error)}
        return {"told": f"{library.version}, for {', '.join(targets)}"}


def examine(path: str) -> Answer:
    """Verify a bundle and open it as `auto` does, without building anything."""
    try:
        bundle = open_bundle(Path(path))
    except InputError as error:
        return {"problem": str(error)}
    manifest = bundle.manifest
    there: Answer = {
        "verified": True,
        "patterns": list(dict.fromkeys(graph.pattern for graph in manifest.graphs)),
        "precisions": list(manifest.graph_precisions),
        "engines": [
            f"{e.pattern} in {e.precision} for {e.compute_capability} by {e.backend} {e.backend_version}"
            for e in manifest.engines
        ],
    }
    try:
        classifier = start_classifier(bundle, Wish()).classifier
    except InputError as error:
        return {**there, "problem": str(error)}
    chosen = {"backend": classifier.backend, "precision": classifier.precision, "reasons": list(classifier.reasons)}
    classifier.close()
    return there | chosen


def _build_engine(bundle: Bundle, name: str) -> None:
    """Into the cache, where the backend looks for it."""
    from rep_edge.runtime.engines.build import BatchRange
    from rep_edge.runtime.engines.cache import cache_folder
    from rep_edge.runtime.engines.compiling import compile_here
    from rep_edge.runtime.engines.gpu import find_gpu
    from rep_edge.runtime.engines.library import find_tensorrt

    batch = BatchRange(1, 1, 1)
    compile_here(bundle, find_tensorrt(name), find_gpu(), (PRECISION,), batch, cache_folder(), lambda line: None)


def _without(folder: str, error: InputError) -> str:
    """The message, with nothing in it of a folder that is gone."""
    return str(error).replace(f"{folder}/", "")


QUESTIONS = {"start": start, "build": build, "examine": examine}

if __name__ == "__main__":
    print(f"\n{ANSWER}{json.dumps(QUESTIONS[sys.argv[1]](sys.argv[2]))}", flush=True)
