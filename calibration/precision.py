"""From the fp32 graph of a pattern to its fp16 and int8 graphs, with what they cost and which layers stay in fp32."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import onnx

from rep_edge.calibration.drift import LayerDrift, beyond_fp16, layer_drift, own_drift
from rep_edge.calibration.fp16 import convertible, rounded_to_fp16, to_fp16
from rep_edge.calibration.graphs import before_logarithm, divergence, logits
from rep_edge.calibration.int8 import activation_ranges, gemm_as_matmul, linear_layers, to_int8
from rep_edge.calibration.search import Judge, Judgement, Tell, keep_fewest
from rep_edge.calibration.windows import LabelledWindows, Values
from rep_edge.runtime.manifest import LayerRecord

PRECISIONS = ("fp16", "int8")
TOLERANCE = {"fp16": 0.03, "int8": 0.15}
"""Largest difference of a probability to fp32, on any window."""
OWN_DRIFT = 0.01
"""Relative error of a single node in fp16 from which it stays in fp32; fp16 rounds by 0.0005."""
FEW = 64
"""Windows on which single layers are compared."""
LOGARITHM = "a logarithm depends on it, where the rounding of a strong bin hides the weak ones"


class Calibrated(NamedTuple):
    """A graph in another precision: what it costs, which layers it converted and kept, how its layers drift."""

    model: onnx.ModelProto
    method: str
    judgement: Judgement
    converted: int
    kept: tuple[LayerRecord, ...]
    drift: list[LayerDrift]


class Material(NamedTuple):
    """What one pattern is calibrated with. windows: training windows; validation: those that losses are counted on;
    kinds: adversarial windows by kind. All with the pattern's live modalities alone."""

    windows: LabelledWindows
    validation: LabelledWindows
    kinds: Mapping[str, Values]

    @property
    def few(self) -> Values:
        """Some of the training windows, spread over all of them."""
        step = max(1, len(self.windows.targets) // FEW)
        return {name: values[::step] for name, values in self.windows.values.items()}


def calibrate_fp16(model: onnx.ModelProto, material: Material, budget: float, tell: Tell) -> Calibrated:
    """The fp16 graph. Judged with every number rounded to fp16, as a GPU does."""
    kinds = {"real": material.few, **material.kinds}
    reasons = dict.fromkeys(before_logarithm(model), LOGARITHM) | beyond_fp16(model, kinds)
    able = convertible(model)
    drifts = own_drift(model, [node for node in able if node.name not in reasons], kinds)
    reasons |= {name: _drifts(error) for name, error in drifts.items() if error > OWN_DRIFT}
    order = sorted((name for name in drifts if name not in reasons), key=lambda name: -drifts[name])

    def kept(first: Sequence[str]) -> set[str]:
        return {*reasons, *first}

    judge = Judge(model, material.validation, material.kinds)
    count, judgement = keep_fewest(
        order, lambda first: rounded_to_fp16(model, kept(first)), judge, budget, TOLERANCE["fp16"]
    )
    reasons |= {name: _drifts(drifts[name]) for name in order[:count]}
    stay = [node for node in able if node.name in reasons]
    tell(f"fp16: {len(able) - len(stay)} nodes converted, {len(stay)} stay in fp32")
    return Calibrated(
        model=to_fp16(model, reasons),
        method="",
        judgement=judgement,
        converted=len(able) - len(stay),
        kept=_records(stay, reasons),
        drift=layer_drift(model, rounded_to_fp16(model, reasons), material.few),
    )


def calibrate_int8(
    fp32: onnx.ModelProto, material: Material, budget: float, methods: Sequence[str], tell: Tell
) -> Calibrated:
    """The int8 graph, with the activation ranges of the method that diverges least from fp32 on the training windows.

    methods: those to try, of METHODS.
    """
    model = gemm_as_matmul(fp32)
    nodes = linear_layers(model)
    front = before_logarithm(model)
    reasons = {node.name: LOGARITHM for node in nodes if node.name in front}
    layers = [node.name for node in nodes if node.name not in reasons]
    wanted = logits(model, material.windows.values)
    tried = {}
    for method in methods:
        ranges = activation_ranges(model, material.windows.values, method)
        cost = divergence(wanted, logits(to_int8(model, ranges, layers), material.windows.values))
        tried[method] = (cost, ranges)
        tell(f"int8: ranges by {method}: divergence {cost:.5f} nats with every layer in int8")
    method = min(tried, key=lambda name: tried[name][0])
    ranges = tried[method][1]
    alone = logits(model, material.few)
    costs = {}
    for number, name in enumerate(layers, 1):
        costs[name] = divergence(alone, logits(to_int8(model, ranges, [name]), material.few))
        if number % 20 == 0:
            tell(f"int8: {number} of {len(layers)} layers tried alone")
    order = sorted(layers, key=lambda name: -costs[name])

    def make(first: Sequence[str]) -> onnx.ModelProto:
        return to_int8(model, ranges, [name for name in layers if name not in set(first)])

    judge = Judge(fp32, material.validation, material.kinds)
    count, judgement = keep_fewest(order, make, judge, budget, TOLERANCE["int8"])
    reasons |= {name: f"costs {costs[name]:.1e} nats when it alone is int8" for name in order[:count]}
    tell(f"int8: {len(layers) - count} layers converted, {len(reasons)} stay in fp32")
    made = make(order[:count])
    return Calibrated(
        model=made,
        method=method,
        judgement=judgement,
        converted=len(layers) - count,
        kept=_records([node for node in nodes if node.name in reasons], reasons),
        drift=layer_drift(model, made, material.few),
    )


def _drifts(error: float) -> str:
    return f"drifts by {100 * error:.2g} % on its own"


def _records(nodes: Sequence[onnx.NodeProto], reasons: Mapping[str, str]) -> tuple[LayerRecord, ...]:
    return tuple(LayerRecord(name=n.name, operator=n.op_type, reason=reasons[n.name]) for n in nodes)
