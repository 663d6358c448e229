"""What a bundle's graphs are compared with: the backbone and each tower without REP, and PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from rep_edge.export.exporting import graph_path, optimised_graph, write_graphs
from rep_edge.export.specialise import specialise_backbone, specialise_tower
from rep_edge.model import RepModel
from rep_edge.signals import Example, Pattern

Call = Callable[[], object]
Windows = Mapping[str, Example]

BACKBONE = "backbone"


def write_plain_graphs(model: RepModel, folder: Path) -> dict[str, Path]:
    """The graphs of the backbone and of each tower alone, made as a bundle's: "backbone" or modality -> file."""
    modules = {BACKBONE: specialise_backbone(model), **{n: specialise_tower(model, n) for n in model.spec.names}}
    write_graphs(((name, optimised_graph(module, name)) for name, module in modules.items()), folder)
    return {name: folder / graph_path(name) for name in modules}


class _Logits(nn.Module):
    """The trained model as it is, for one pattern."""

    def __init__(self, model: RepModel, pattern: Pattern) -> None:
        super().__init__()
        self.model, self.pattern = model, pattern

    def forward(self, windows: dict[str, Tensor]) -> Tensor:
        logits: Tensor = self.model(windows, self.pattern).logits
        return logits


def eager(model: RepModel, pattern: Pattern, windows: Windows) -> Call:
    """A call of the trained model in PyTorch, on one window."""
    return _call(_Logits(model, pattern), pattern, windows)


def compiled(model: RepModel, pattern: Pattern, windows: Windows) -> Call:
    """The same under torch.compile, compiled now. Raises RuntimeError with the reason where that cannot run here."""
    try:
        call = _call(torch.compile(_Logits(model, pattern), dynamic=False), pattern, windows)
        call()
    except Exception as error:  # The compiler's errors share no base class.
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise RuntimeError(lines[0] if lines else type(error).__name__) from error
    return call


def _call(module: Callable[[dict[str, Tensor]], Tensor], pattern: Pattern, windows: Windows) -> Call:
    tensors = {name: torch.from_numpy(values) for name, values in windows.items() if name in pattern}

    def run() -> object:
        with torch.inference_mode():
            return module(tensors)

    return run
