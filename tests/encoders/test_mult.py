"""MulT against its equations in plain numpy: every head, row and stream by itself, with and without slots."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from rep_edge.config import MultConfig
from rep_edge.encoders.base import Embedded, Keep
from rep_edge.encoders.mult import MultEncoder, check_mult
from rep_edge.encoders.mult_blocks import Block
from rep_edge.errors import InputError
from rep_edge.export.dependence import independent_nodes
from rep_edge.export.folding import fold
from rep_edge.signals import FeatureSequence, Image, WindowSpec

Rows = NDArray[np.float64]
Towers = dict[str, MultEncoder]

MODALITIES = (
    FeatureSequence(name="text", length=7, width=11),
    FeatureSequence(name="audio", length=9, width=5),
    FeatureSequence(name="vision", length=4, width=3),
    FeatureSequence(name="touch", length=7, width=2),
)
CONFIG = MultConfig(width=6, heads=2, layers=2, memory_layers=2, kernel=3)
SLOTS, FIXED = 4, 3


def towers_of(modalities: Sequence[FeatureSequence], config: MultConfig = CONFIG) -> Towers:
    torch.manual_seed(3)
    names = [m.name for m in modalities]
    towers = {m.name: MultEncoder(m, [n for n in names if n != m.name], config).eval() for m in modalities}
    for tower in towers.values():
        for name, parameter in tower.named_parameters():
            if parameter.dim() == 1:
                nn.init.normal_(parameter, mean=float("norm" in name and "weight" in name), std=0.5)
    return towers


def windows_of(modalities: Sequence[FeatureSequence], batch: int = 2) -> dict[str, Tensor]:
    return {m.name: torch.randn(batch, *m.shape, generator=torch.Generator().manual_seed(m.width)) for m in modalities}


def embedded_of(towers: Towers, windows: dict[str, Tensor]) -> dict[str, Embedded]:
    alone = {name: tower.embed(windows[name]) for name, tower in towers.items()}
    return {name: tower.meet(alone[name], alone) for name, tower in towers.items()}


def through(tower: MultEncoder, embedded: Embedded) -> Tensor:
    """Every block without slots, as the adapters run it: [B, feature_width]."""
    sequence = embedded.tokens
    for k in range(tower.steps):
        sequence = tower.step(k, tower.advance(k, sequence, 0), 0, beside=embedded.beside)
    return tower.pool(sequence, embedded.beside)


# The reference: one sample, float64, [rows, channels].


def double(parameter: Tensor) -> Rows:
    values: Rows = parameter.detach().double().numpy()
    return values


def norm(layer: nn.LayerNorm, x: Rows) -> Rows:
    centred = x - x.mean(-1, keepdims=True)
    centred = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + layer.eps)
    return centred * double(layer.weight) + double(layer.bias)


def linear(layer: nn.Linear, x: Rows) -> Rows:
    return x @ double(layer.weight).T + double(layer.bias)


def attention(block: Block, queries: Rows, memory: Rows) -> Rows:
    """softmax(Q K^T / sqrt(d / heads)) V of every head and row, then the output map."""
    width, heads = queries.shape[1], block.attention.heads
    size = width // heads
    weight, bias = double(block.attention.qkv.weight), double(block.attention.qkv.bias)
    maps = [(weight[i * width : (i + 1) * width], bias[i * width : (i + 1) * width]) for i in range(3)]
    q, k, v = (x @ w.T + b for x, (w, b) in zip((queries, memory, memory), maps, strict=True))
    mixed = np.zeros_like(q)
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        for row in range(len(q)):
            scores = k[:, part] @ q[row, part] / np.sqrt(size)
            weights = np.exp(scores - scores.max())
            mixed[row, part] = weights / weights.sum() @ v[:, part]
    return linear(block.attention.out, mixed)


def reference_block(block: Block, rows: Rows, source: Rows | None, slots: Rows, fixed: Rows) -> Rows:
    """Every slot and token attends to fixed slots, slots, and the source's tokens (None: its own sequence's)."""
    sequence = np.concatenate([slots, rows])
    memory = np.concatenate([fixed, slots, rows if source is None else source])
    sequence = sequence + attention(block, norm(block.norm1, sequence), norm(block.norm1, memory))
    hidden = np.maximum(linear(block.fc1, norm(block.norm2, sequence)), 0)
    return sequence + linear(block.fc2, hidden)


def positions(count: int, width: int) -> Rows:
    """Position p = 1, 2, ... has sin(p f_i) in its first half and cos(p f_i) in its second, f_i = 10000^(-i/(h-1))."""
    half = width // 2
    table = np.zeros((count, width))
    for p in range(count):
        for i in range(half):
            angle = (p + 1) * 10000.0 ** (-i / max(half - 1, 1))
            table[p, i], table[p, half + i] = np.sin(angle), np.cos(angle)
    return table


def reference_embed(tower: MultEncoder, window: Rows) -> Rows:
    """sqrt(d) Conv1d(x) + positions, tap by tap."""
    length, channels = window.shape
    taps = double(tower.project.weight).reshape(tower.stream_width, tower.kernel, channels)
    tokens = np.zeros((length, tower.stream_width))
    for t in range(length):
        for tap in range(tower.kernel):
            frame = t + tap - tower.kernel // 2
            if 0 <= frame < length:
                tokens[t] += taps[:, tap] @ window[frame]
    return np.sqrt(tower.stream_width) * tokens + positions(length, tower.stream_width)


def reference_feature(towers: Towers, name: str, windows: dict[str, Rows]) -> Rows:
    """MulT for one modality: a cross-modal transformer for each source, side by side into a transformer, last token."""
    tower, nothing = towers[name], np.zeros((0, towers[name].stream_width))
    own = reference_embed(tower, windows[name])
    streams = []
    for s in range(tower.streams):
        source = reference_embed(towers[tower.sources[s]], windows[tower.sources[s]]) if tower.sources else None
        rows = own
        for blocks in tower.cross_blocks:
            rows = reference_block(blocks[s], rows, source, nothing, nothing)
        streams.append(norm(tower.stream_norms[s], rows))
    rows = np.concatenate(streams, axis=1)
    rows = np.sqrt(rows.shape[1]) * rows + positions(*rows.shape)
    for block in tower.self_blocks:
        rows = reference_block(block, rows, None, np.zeros((0, rows.shape[1])), np.zeros((0, rows.shape[1])))
    return norm(tower.norm, rows)[-1]


@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    count=st.integers(1, 4),
    lengths=st.lists(st.integers(1, 6), min_size=4, max_size=4),
    width=st.sampled_from([2, 3, 6]),
    kernel=st.sampled_from([1, 3, 5]),
    layers=st.tuples(st.integers(1, 2), st.integers(1, 2)),
)
def test_without_slots_it_is_mult(
    count: int, lengths: list[int], width: int, kernel: int, layers: tuple[int, int]
) -> None:
    modalities = [
        msgspec.structs.replace(m, length=n) for m, n in zip(MODALITIES[:count], lengths[:count], strict=True)
    ]
    heads = 1 if width == 3 else 2
    config = MultConfig(width=width, heads=heads, layers=layers[0], memory_layers=layers[1], kernel=kernel)
    towers, windows = towers_of(modalities, config), windows_of(modalities)
    for name, embedded in embedded_of(towers, windows).items():
        found = through(towers[name], embedded)
        assert found.shape == (2, towers[name].feature_width) == (2, max(count - 1, 1) * width)
        for b in range(2):
            expected = reference_feature(towers, name, {n: w[b].double().numpy() for n, w in windows.items()})
            np.testing.assert_allclose(found[b].detach().numpy(), expected, atol=2e-5, rtol=1e-4)


def reference_step(tower: MultEncoder, k: int, rows: Rows, slots: Rows, fixed: Rows, sources: Sequence[Rows]) -> Rows:
    """Each stream has its own channels of tokens, slots and fixed slots."""
    if k >= tower.cross_steps:
        return reference_block(tower.self_blocks[k - tower.cross_steps], rows, None, slots, fixed)
    of = [slice(s * tower.stream_width, (s + 1) * tower.stream_width) for s in range(tower.streams)]
    streams = [
        reference_block(block, rows[:, part], source, slots[:, part], fixed[:, part])
        for block, part, source in zip(tower.cross_blocks[k], of, sources, strict=True)
    ]
    return np.concatenate(streams, axis=1)


@pytest.mark.parametrize("keep", ["all", "tokens", "slots"])
@pytest.mark.parametrize("k", range(4), ids=["first", "second", "self-attention", "last"])
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_every_slot_and_token_attends_to_the_slots_and_the_sources_tokens(count: int, k: int, keep: Keep) -> None:
    towers = towers_of(MODALITIES[:count])
    tower = towers["text"]
    beside = embedded_of(towers, windows_of(MODALITIES[:count]))["text"].beside
    sequence = torch.randn(2, SLOTS + 7, tower.width(k))
    fixed = torch.randn(1, FIXED, tower.width(k))
    found = tower.step(k, sequence, SLOTS, tower.remember(k, fixed), keep, beside).detach().numpy()
    for b in range(2):
        rows = sequence[b].double().numpy()
        sources = [source[b].double().detach().numpy() for source in beside] or [None]
        expected = reference_step(tower, k, rows[SLOTS:], rows[:SLOTS], fixed[0].double().numpy(), sources)
        if k == tower.steps - 1:
            # Of the tokens the pooled one alone is left.
            expected = np.concatenate([expected[:SLOTS], expected[-1:]])
        expected = {"all": expected, "tokens": expected[SLOTS:], "slots": expected[:SLOTS]}[keep]
        np.testing.assert_allclose(found[b], expected, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("k", range(4))
def test_fixed_slots_are_slots_whose_output_nobody_reads(k: int) -> None:
    towers = towers_of(MODALITIES[:3])
    tower, beside = towers["audio"], embedded_of(towers, windows_of(MODALITIES[:3]))["audio"].beside
    slots, tokens = torch.randn(2, SLOTS, tower.width(k)), torch.randn(2, 9, tower.width(k))
    carried = tower.step(k, torch.cat([slots, tokens], dim=1), SLOTS, keep="tokens", beside=beside)
    fixed = tower.step(k, tokens, 0, tower.remember(k, slots), keep="all", beside=beside)
    torch.testing.assert_close(fixed, carried)
    assert not torch.allclose(tower.step(k, tokens, 0, beside=beside), carried)


def test_between_the_streams_and_self_attention_rows_are_normed_scaled_and_tokens_placed() -> None:
    tower = towers_of(MODALITIES[:3])["text"]
    sequence = torch.randn(2, SLOTS + 7, 12)
    rows = sequence.double().numpy()
    normed = np.concatenate([norm(n, rows[..., i * 6 : i * 6 + 6]) for i, n in enumerate(tower.stream_norms)], axis=-1)
    expected = np.sqrt(12) * normed
    np.testing.assert_allclose(tower.widen(2, sequence).detach().numpy(), expected, atol=2e-5)
    expected[:, SLOTS:] += positions(7, 12)
    np.testing.assert_allclose(tower.advance(2, sequence, SLOTS).detach().numpy(), expected, atol=2e-5)
    for k in (0, 1, 3):
        assert tower.advance(k, sequence, SLOTS) is sequence
        assert tower.widen(k, sequence) is sequence


@pytest.mark.parametrize("missing", [{"text"}, {"audio"}, {"audio", "vision"}, {"text", "audio", "vision"}])
def test_a_placeholder_of_one_stands_for_a_batch_of_them(missing: set[str]) -> None:
    towers, windows = towers_of(MODALITIES[:3]), windows_of(MODALITIES[:3], batch=3)
    for m in MODALITIES[:3]:
        if m.name in missing:
            windows[m.name] = torch.full((3, *m.shape), 0.25)
    whole = embedded_of(towers, windows)
    single = embedded_of(towers, {name: w[:1] if name in missing else w for name, w in windows.items()})
    for name, tower in towers.items():
        fixed = tower.remember(0, torch.randn(1, FIXED, 12))
        found = tower.step(0, single[name].tokens, 0, fixed, beside=single[name].beside)
        expected = tower.step(0, whole[name].tokens, 0, fixed, beside=whole[name].beside)
        torch.testing.assert_close(found.expand(3, -1, -1), expected)
        torch.testing.assert_close(through(tower, single[name]).expand(3, -1), through(tower, whole[name]))


@pytest.mark.parametrize("name", ["text", "audio", "vision"])
def test_every_slot_reaches_the_feature_through_every_stream(name: str) -> None:
    towers = towers_of(MODALITIES[:3])
    tower, embedded = towers[name], embedded_of(towers, windows_of(MODALITIES[:3]))[name]
    slots, fixed = torch.randn(1, SLOTS, 12, requires_grad=True), torch.randn(1, FIXED, 12, requires_grad=True)
    sequence = torch.cat([slots.expand(2, -1, -1), embedded.tokens], dim=1)
    for k in range(tower.steps):
        remembered = tower.remember(k, fixed) if k == 0 else None
        sequence = tower.step(k, tower.advance(k, sequence, SLOTS), SLOTS, remembered, beside=embedded.beside)
    tower.pool(sequence[:, SLOTS:]).square().sum().backward()
    assert slots.grad is not None
    assert fixed.grad is not None
    assert slots.grad.abs().min() > 0
    assert fixed.grad.abs().min() > 0


def test_sources_are_looked_at_in_their_order_and_own_slots_stay_in_their_channels() -> None:
    towers = towers_of(MODALITIES[:3])
    embedded = embedded_of(towers, windows_of(MODALITIES[:3]))["text"]
    assert towers["text"].sources == ("audio", "vision")
    slots = torch.zeros(2, SLOTS, 12)
    plain = towers["text"].step(0, torch.cat([slots, embedded.tokens], 1), SLOTS, beside=embedded.beside)
    slots[..., 6:] = torch.randn(2, SLOTS, 6)
    moved = towers["text"].step(0, torch.cat([slots, embedded.tokens], 1), SLOTS, beside=embedded.beside)
    torch.testing.assert_close(moved[..., :6], plain[..., :6])
    assert not torch.allclose(moved[:, SLOTS:, 6:], plain[:, SLOTS:, 6:])
    audio, vision = embedded.beside
    other = towers["text"].step(0, embedded.tokens, 0, beside=(audio, vision + 1))
    torch.testing.assert_close(
        other[..., :6], towers["text"].step(0, embedded.tokens, 0, beside=embedded.beside)[..., :6]
    )


def test_in_training_each_stream_drops_its_own_embedding_channels() -> None:
    towers = towers_of(MODALITIES[:3], msgspec.structs.replace(CONFIG, embedding_dropout=0.5))
    tower = towers["text"].train()
    alone = {name: Embedded(torch.ones(2, m.length, 6)) for name, m in zip(towers, MODALITIES, strict=False)}
    met = tower.meet(alone["text"], alone)
    first, second = (met.tokens == 0).chunk(2, dim=-1)
    assert not torch.equal(first, second)
    assert set(met.tokens.unique().tolist()) == set(met.beside[0].unique().tolist()) == {0.0, 2.0}


def test_the_parameters_nearest_to_the_feature_come_first() -> None:
    tower = towers_of(MODALITIES[:3])["text"]
    ordered = tower.from_pooled_end()
    assert {id(p) for p in ordered[:2]} == {id(p) for p in tower.norm.parameters()}
    assert ordered[-1] is tower.project.weight


def test_at_mplmms_sizes_it_has_as_many_parameters_as_mult() -> None:
    """Width 30, 5 heads, 5 layers in every transformer; features of BERT, COVAREP and Facet (CMU-MOSEI)."""
    widths = {"text": 768, "audio": 74, "vision": 35}
    config = MultConfig(width=30, heads=5, layers=5, memory_layers=5)
    names = list(widths)
    counted = sum(
        parameter.numel()
        for name, width in widths.items()
        for parameter in MultEncoder(
            FeatureSequence(name=name, length=50, width=width), [n for n in names if n != name], config
        ).parameters()
    )

    def transformer(d: int) -> int:
        return 5 * (3 * d * (d + 1) + d * (d + 1) + 4 * d * (d + 1) + d * (4 * d + 1) + 4 * d) + 2 * d

    assert counted == 30 * sum(widths.values()) + 6 * transformer(30) + 3 * transformer(60) == 1_022_430


class Graph(nn.Module):
    """All towers for the pattern of its inputs: placeholders for the others, slots in front, features side by side."""

    def __init__(self, towers: Towers, live: Sequence[str]) -> None:
        super().__init__()
        self.towers, self.live = nn.ModuleDict(towers), tuple(live)
        width = next(iter(towers.values())).feature_width
        self.slots, self.fixed = nn.Parameter(torch.randn(1, SLOTS, width)), nn.Parameter(torch.randn(1, FIXED, width))

    def forward(self, *windows: Tensor) -> Tensor:
        given_ = dict(zip(self.live, windows, strict=True))
        towers: Towers = dict(self.towers.items())
        blanks = {m.name: torch.from_numpy(m.blank())[None] for m in MODALITIES if m.name in towers}
        embedded = embedded_of(towers, {**blanks, **given_})
        return torch.cat([self._feature(towers[name], embedded[name]) for name in self.live], dim=-1)

    def _feature(self, tower: MultEncoder, embedded: Embedded) -> Tensor:
        slots = self.slots.expand(embedded.tokens.shape[0], -1, -1)
        sequence = torch.cat([slots, embedded.tokens], dim=1)
        for k in range(tower.steps):
            sequence = tower.advance(k, sequence, SLOTS)
            sequence = tower.step(k, sequence, SLOTS, tower.remember(k, self.fixed), beside=embedded.beside)
        return tower.pool(sequence[:, SLOTS:], embedded.beside)


@pytest.mark.parametrize(
    "live", [("text", "audio"), pytest.param(("text", "audio", "vision"), marks=pytest.mark.slow)], ids="+".join
)
def test_an_exported_graph_computes_the_same_and_nothing_that_is_constant(live: tuple[str, ...]) -> None:
    config = msgspec.structs.replace(CONFIG, layers=1, memory_layers=1)
    graph = Graph(towers_of(MODALITIES[:3], config), live).eval().requires_grad_(False)
    shapes = [m.shape for m in MODALITIES[:3] if m.name in live]
    batch = torch.export.Dim("batch")
    program = torch.onnx.export(
        graph,
        tuple(torch.zeros(2, *shape) for shape in shapes),
        dynamo=True,
        dynamic_shapes=(tuple({0: batch} for _ in shapes),),
        input_names=list(live),
        opset_version=20,
        verbose=False,
    )
    assert program is not None
    model: onnx.ModelProto = fold(program.model_proto)
    assert independent_nodes(model) == []
    # Of a missing source keys and values alone are left, one table with those of the fixed slots.
    tables = [list(tensor.dims) for tensor in model.graph.initializer]
    assert tables.count([1, FIXED + 4, 2 * 6]) == (2 if "vision" not in live else 0)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for count in (1, 3):
        windows = [torch.randn(count, *shape) for shape in shapes]
        (found,) = session.run(None, {name: w.numpy() for name, w in zip(live, windows, strict=True)})
        np.testing.assert_allclose(found, graph(*windows).numpy(), atol=1e-5, rtol=1e-4)


SPEC = WindowSpec(modalities=MODALITIES[:2])


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"heads": 4}, "width 6 must be divisible by heads 4"),
        ({"kernel": 2}, "kernel must be odd"),
        ({"layers": 0}, "must all be at least 1"),
        ({"memory_layers": 0}, "must all be at least 1"),
        ({"heads": 0}, "must all be at least 1"),
    ],
)
def test_sizes_that_make_no_tower_are_refused(changed: dict[str, int], told: str) -> None:
    check_mult(CONFIG, SPEC)
    with pytest.raises(InputError, match=told):
        check_mult(msgspec.structs.replace(CONFIG, **changed), SPEC)


def test_a_modality_that_is_no_sequence_of_features_is_refused_by_name() -> None:
    with pytest.raises(InputError, match="but picture is of kind image; make it of kind features"):
        check_mult(CONFIG, WindowSpec(modalities=(MODALITIES[0], Image(name="picture"))))
