"""Transformer towers against plain numpy, one sample, head and row at a time, with and without slots."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import onnxruntime as ort
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from rep_edge.encoders.base import Keep
from rep_edge.encoders.image_tower import CLASS_TOKEN, ImageTower, PatchEmbedding, Patches
from rep_edge.encoders.readout import MeanReadout, TokenReadout
from rep_edge.encoders.text_tower import (
    LAST_TOKEN,
    CausalTextTower,
    EndedTextTower,
    TextTower,
    TokenEmbedding,
)
from rep_edge.encoders.transformer import Block, QuickGelu, TransformerTower
from rep_edge.export.dependence import independent_nodes
from rep_edge.export.folding import fold

Rows = NDArray[np.float64]

WIDTH, HEADS, STEPS, FEATURE = 12, 3, 3, 5
TOKENS, IDS, END = 10, 40, 39
SLOTS, FIXED = 4, 3
SIZE, PATCH = 12, 4


def blocks() -> list[Block]:
    def block() -> Block:
        mlp = nn.Sequential(nn.Linear(WIDTH, 2 * WIDTH), QuickGelu(), nn.Linear(2 * WIDTH, WIDTH))
        qkv, proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        return Block(HEADS, nn.LayerNorm(WIDTH), qkv, proj, nn.LayerNorm(WIDTH), mlp)

    return [block() for _ in range(STEPS)]


def at_random(tower: TransformerTower) -> None:
    """Weights at which every part matters."""
    for name, parameter in tower.named_parameters():
        nn.init.normal_(parameter, mean=float("norm" in name and "weight" in name), std=0.4)
    tower.eval().requires_grad_(False)


def text_tower(kind: type[EndedTextTower] = CausalTextTower) -> EndedTextTower:
    torch.manual_seed(5)
    embedding = TokenEmbedding(nn.Embedding(IDS, WIDTH), nn.Parameter(torch.empty(TOKENS, WIDTH)))
    readout = TokenReadout(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, FEATURE))
    tower = kind(embedding, blocks(), readout, FEATURE, END)
    at_random(tower)
    return tower


def image_tower() -> ImageTower:
    torch.manual_seed(6)
    patches = Patches(nn.Conv2d(3, WIDTH, PATCH, PATCH, bias=False))
    positions = nn.Parameter(torch.empty(1 + (SIZE // PATCH) ** 2, WIDTH))
    embedding = PatchEmbedding(patches, nn.Parameter(torch.empty(1, WIDTH)), positions, nn.LayerNorm(WIDTH))
    readout = TokenReadout(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, FEATURE, bias=False))
    tower = ImageTower(embedding, blocks(), readout, FEATURE, CLASS_TOKEN)
    at_random(tower)
    return tower


def texts(*ends: int) -> Tensor:
    """Ids at random, the same every time, each text with its end at a place of its own."""
    ids = torch.randint(0, END, (len(ends), TOKENS), generator=torch.Generator().manual_seed(1))
    for text, end in zip(ids, ends, strict=True):
        text[end] = END
    return ids


def slots(batch: int, rows: int = SLOTS, seed: int = 2) -> Tensor:
    return torch.randn(batch, rows, WIDTH, generator=torch.Generator().manual_seed(seed))


class Passed(NamedTuple):
    """slots: of every block, [B, SLOTS, d] each; feature: [B, FEATURE]."""

    slots: list[Tensor]
    feature: Tensor


def through(tower: TransformerTower, window: Tensor, lead: int) -> Passed:
    """Every block with `lead` slots in front and, where there are any, more that are keys and values alone."""
    tokens, beside = tower.embed(window)
    seen = []
    sequence = torch.cat([slots(len(window), lead), tokens], dim=1)
    for k in range(tower.steps):
        fixed = tower.remember(k, slots(1, FIXED, seed=k)) if lead else None
        sequence = tower.step(k, tower.advance(k, sequence, lead), lead, fixed, beside=beside)
        seen.append(sequence[:, :lead])
    return Passed(seen, tower.pool(sequence[:, lead:], beside))


# The reference: one sample, float64, [rows, channels].


def double(values: Tensor) -> Rows:
    numbers: Rows = values.detach().double().numpy()
    return numbers


def norm(layer: nn.Module, x: Rows) -> Rows:
    assert isinstance(layer, nn.LayerNorm)
    centred = x - x.mean(-1, keepdims=True)
    centred = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + layer.eps)
    return centred * double(layer.weight) + double(layer.bias)


def linear(layer: nn.Linear, x: Rows) -> Rows:
    return x @ double(layer.weight).T + (0 if layer.bias is None else double(layer.bias))


def block_reference(block: Block, fixed: Rows, rows: Rows, sees: NDArray[np.bool_]) -> Rows:
    """rows: [M, d] after `fixed` ones [F, d]; sees: [M, F + M], whether a row looks at another."""
    q, _, _ = np.split(linear(block.qkv, norm(block.norm1, rows)), 3, axis=1)
    _, k, v = np.split(linear(block.qkv, norm(block.norm1, np.concatenate([fixed, rows]))), 3, axis=1)
    mixed = np.zeros_like(q)
    per_head = WIDTH // HEADS
    for head in range(HEADS):
        part = slice(head * per_head, (head + 1) * per_head)
        for i in range(len(rows)):
            others = np.flatnonzero(sees[i])
            scores = k[others, part] @ q[i, part] / np.sqrt(per_head)
            weights = np.exp(scores - scores.max())
            mixed[i, part] = weights @ v[others, part] / weights.sum()
    rows = rows + linear(block.proj, mixed)
    first, _, second = block.mlp
    hidden = linear(first, norm(block.norm2, rows))
    return rows + linear(second, hidden / (1 + np.exp(-1.702 * hidden)))


def sees_of_text(end: int, count: int) -> NDArray[np.bool_]:
    """Who sees whom among fixed slots, `count` slots and the tokens of a causal text with its end there."""
    extra = FIXED + count
    sees = np.zeros((count + TOKENS, extra + TOKENS), dtype=bool)
    sees[:, :extra] = True
    for token in range(TOKENS):
        sees[:count, extra + token] = token <= end
        sees[count + token, extra : extra + token + 1] = True
    return sees


def kept(rows: Rows, keep: Keep, read: list[int] | None) -> Rows:
    tokens = rows[SLOTS:] if read is None else rows[SLOTS:][read]
    return {"all": np.concatenate([rows[:SLOTS], tokens]), "tokens": tokens, "slots": rows[:SLOTS]}[keep]


@pytest.mark.parametrize("keep", ["all", "tokens", "slots"])
@pytest.mark.parametrize("k", [0, STEPS - 1], ids=["a block", "the last block"])
def test_slots_and_tokens_of_a_causal_text_see_what_they_may(k: int, keep: Keep) -> None:
    tower, ends = text_tower(), (3, TOKENS - 1)
    tokens, beside = tower.embed(texts(*ends))
    sequence = torch.cat([slots(2), tokens], dim=1)
    fixed = slots(1, FIXED, seed=9)
    found = tower.step(k, sequence, SLOTS, tower.remember(k, fixed), keep, beside)
    for b, end in enumerate(ends):
        rows = block_reference(tower.blocks[k], double(fixed[0]), double(sequence[b]), sees_of_text(end, SLOTS))
        expected = kept(rows, keep, [end] if k == STEPS - 1 else None)
        np.testing.assert_allclose(found[b].numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("keep", ["all", "tokens", "slots"])
@pytest.mark.parametrize("k", [0, STEPS - 1], ids=["a block", "the last block"])
def test_slots_and_tokens_of_an_image_see_each_other(k: int, keep: Keep) -> None:
    tower = image_tower()
    tokens, beside = tower.embed(torch.randn(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(3)))
    sequence = torch.cat([slots(2), tokens], dim=1)
    fixed = slots(2, FIXED, seed=9)
    found = tower.step(k, sequence, SLOTS, tower.remember(k, fixed), keep, beside)
    everything = np.ones((sequence.shape[1], FIXED + sequence.shape[1]), dtype=bool)
    for b in range(2):
        rows = block_reference(tower.blocks[k], double(fixed[b]), double(sequence[b]), everything)
        np.testing.assert_allclose(found[b].numpy(), kept(rows, keep, [0] if k == STEPS - 1 else None), atol=1e-5)


def test_an_image_is_embedded_as_class_token_and_patches_row_by_row() -> None:
    tower = image_tower()
    picture = torch.randn(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(3))
    embedding, side = tower.embedding, SIZE // PATCH
    convolution = double(embedding.patches.convolution.weight).reshape(WIDTH, -1)
    rows = [double(embedding.class_token[0])]
    for row in range(side):
        for column in range(side):
            patch = picture[0, :, row * PATCH : (row + 1) * PATCH, column * PATCH : (column + 1) * PATCH]
            rows.append(convolution @ double(patch).reshape(-1))
    expected = norm(embedding.norm, np.stack(rows) + double(embedding.positions))
    np.testing.assert_allclose(tower.embed(picture).tokens[0].numpy(), expected, atol=1e-5)


def test_learned_buffers_start_at_the_class_token_and_at_the_end_of_text() -> None:
    image, text = image_tower(), text_tower()
    tokens = image.embed(torch.randn(4, 3, SIZE, SIZE)).tokens
    torch.testing.assert_close(image.typical(tokens), tokens[0, 0])
    assert torch.equal(text.typical(text.embed(texts(3)).tokens), text.embedding.tokens.weight[END])


@given(ids=st.lists(st.integers(0, IDS - 1), min_size=TOKENS, max_size=TOKENS))
@settings(deadline=None)
def test_a_text_ends_at_its_first_end_and_without_one_at_its_last_token(ids: list[int]) -> None:
    found = int(text_tower().ends(torch.tensor([ids])))
    assert found == (ids.index(END) if END in ids else TOKENS - 1)


def test_a_token_does_not_hear_those_after_it() -> None:
    tower, ids = text_tower(), texts(TOKENS - 1)
    changed = ids.clone()
    changed[:, 6] = (changed[:, 6] + 1) % END

    def left(ids: Tensor) -> Tensor:
        sequence, beside = tower.embed(ids)
        for k in range(STEPS - 1):
            sequence = tower.step(k, sequence, 0, beside=beside)
        return sequence

    was, became = left(ids), left(changed)
    torch.testing.assert_close(became[:, :6], was[:, :6], atol=0, rtol=0)
    assert not torch.allclose(became[:, 6:], was[:, 6:])


@pytest.mark.parametrize("lead", [0, SLOTS])
def test_what_stands_behind_the_end_changes_nothing(lead: int) -> None:
    tower, ids = text_tower(), texts(3, 5)
    other = ids.clone()
    other[0, 4:], other[1, 6:] = 7, END
    was, became = through(tower, ids, lead), through(tower, other, lead)
    torch.testing.assert_close(became.feature, was.feature, atol=0, rtol=0)
    for before, after in zip(was.slots, became.slots, strict=True):
        torch.testing.assert_close(after, before, atol=0, rtol=0)
    assert torch.equal(tower.embed(other).tokens, tower.embed(ids).tokens)


def test_slots_hear_the_whole_text() -> None:
    tower, ids = text_tower(), texts(5)
    was = through(tower, ids, SLOTS)
    for place in range(5):
        other = ids.clone()
        other[0, place] = (other[0, place] + 1) % END
        assert not torch.allclose(through(tower, other, SLOTS).slots[0], was.slots[0])


@pytest.mark.parametrize("k", [0, STEPS - 1], ids=["a block", "the last block"])
def test_slots_of_a_causal_text_may_go_through_a_block_alone(k: int) -> None:
    tower, rows = text_tower(), slots(2)
    found = tower.step(k, rows, SLOTS, keep="slots")
    for b in range(2):
        everything = np.ones((SLOTS, SLOTS), dtype=bool)
        expected = block_reference(tower.blocks[k], np.zeros((0, WIDTH)), double(rows[b]), everything)
        np.testing.assert_allclose(found[b].numpy(), expected, atol=1e-5)


def test_the_level_of_a_text_is_that_of_its_tokens_up_to_the_end() -> None:
    tower = text_tower()
    tokens = torch.randn(2, TOKENS, WIDTH)
    beside = tower.embed(texts(3, TOKENS - 1)).beside
    expected = [np.sqrt((double(tokens[b, : end + 1]) ** 2).mean(axis=0)) for b, end in ((0, 3), (1, TOKENS - 1))]
    np.testing.assert_allclose(tower.level(0, tokens, beside).numpy(), expected, rtol=1e-5)


def test_a_collapsed_text_computes_only_what_stands_before_its_end() -> None:
    tower, placeholder = text_tower(), texts(1)
    small = tower.collapsed(placeholder)
    full, collapsed = through(tower, placeholder, SLOTS), through(small, placeholder, SLOTS)
    torch.testing.assert_close(collapsed.feature, full.feature)
    for a, b in zip(full.slots, collapsed.slots, strict=True):
        torch.testing.assert_close(b, a)
    tokens, beside = small.embed(placeholder)
    assert small.step(0, torch.cat([slots(3), tokens.expand(3, -1, -1)], 1), SLOTS, beside=beside).shape[1] == SLOTS + 2
    assert torch.equal(tokens, tower.embed(placeholder).tokens)


@pytest.mark.parametrize("place", [0, 4, TOKENS - 1])
def test_a_text_without_a_mask_hears_what_stands_behind_its_end(place: int) -> None:
    tower, ids = text_tower(EndedTextTower), texts(4)
    other = ids.clone()
    other[0, -1] = (other[0, -1] + 1) % END
    assert not torch.allclose(through(tower, other, 0).feature, through(tower, ids, 0).feature)


def test_the_last_token_is_pooled_where_that_is_asked_for() -> None:
    ended = text_tower(EndedTextTower)
    last = TextTower(ended.embedding, list(ended.blocks), ended.readout, FEATURE, LAST_TOKEN, END)
    ids = texts(TOKENS - 1)
    torch.testing.assert_close(through(last, ids, SLOTS).feature, through(ended, ids, SLOTS).feature)


def test_a_mean_is_normed_before_or_after() -> None:
    tokens, layer = torch.randn(2, 7, WIDTH), nn.LayerNorm(WIDTH)
    nn.init.normal_(layer.weight)
    after = MeanReadout(nn.Identity(), layer, nn.Identity())(tokens)
    before = MeanReadout(layer, nn.Identity(), nn.Identity())(tokens)
    np.testing.assert_allclose(after.detach().numpy(), norm(layer, double(tokens).mean(1)), atol=1e-5)
    np.testing.assert_allclose(before.detach().numpy(), norm(layer, double(tokens)).mean(1), atol=1e-5)


def test_the_parameters_nearest_to_the_feature_come_first() -> None:
    tower = text_tower()
    names = {id(parameter): name for name, parameter in tower.named_parameters()}
    order = [names[id(parameter)] for parameter in tower.from_pooled_end()]
    places = [order.index(name) for name in ("readout.project.weight", "blocks.2.qkv.weight", "blocks.0.qkv.weight")]
    assert places == sorted(places)
    assert order[-1].startswith("embedding")


class Graph(nn.Module):
    def __init__(self, tower: TransformerTower) -> None:
        super().__init__()
        self.tower = tower
        self.first = nn.Parameter(slots(1)[0])

    def forward(self, window: Tensor) -> Tensor:
        tokens, beside = self.tower.embed(window)
        sequence = torch.cat([self.first.expand(window.shape[0], -1, -1), tokens], dim=1)
        for k in range(self.tower.steps):
            fixed = self.tower.remember(k, self.first[None])
            last = k == self.tower.steps - 1
            sequence = self.tower.step(k, sequence, SLOTS, fixed, "tokens" if last else "all", beside)
        return self.tower.pool(sequence, beside)


@pytest.mark.parametrize("kind", ["image", "text"])
def test_a_graph_computes_only_what_depends_on_its_input(kind: str) -> None:
    tower = image_tower() if kind == "image" else text_tower()
    window = torch.randn(3, 3, SIZE, SIZE) if kind == "image" else texts(2, 5, TOKENS - 1)
    for block in tower.blocks:
        # As `specialise` folds it.
        block.qkv.weight[:WIDTH] *= block.scale
        block.qkv.bias[:WIDTH] *= block.scale
        block.scale = 1.0
    expected = Graph(image_tower() if kind == "image" else text_tower()).eval()(window)
    program = torch.onnx.export(
        Graph(tower).eval(),
        (window,),
        dynamo=True,
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        opset_version=20,
        verbose=False,
    )
    assert program is not None
    model = fold(program.model_proto)
    assert not independent_nodes(model)
    kinds = [node.op_type for node in model.graph.node]
    assert not {"Loop", "If", "Einsum"} & set(kinds)
    # Queries are not scaled: what is multiplied is the activation of each block and, once, what a text's end hides.
    assert kinds.count("Mul") <= 2 * STEPS + 3
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for batch in (1, 3):
        (found,) = session.run(None, {session.get_inputs()[0].name: window[:batch].numpy()})
        np.testing.assert_allclose(found, expected[:batch].detach().numpy(), atol=1e-5)
