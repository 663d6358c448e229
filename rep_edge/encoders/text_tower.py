"""A text's towers: token ids with their positions, blocks, and the feature of one token."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy

import torch
from torch import Tensor, nn
from torch.nn import functional

from rep_edge.encoders.base import Beside, Embedded, Keep
from rep_edge.encoders.transformer import Block, TransformerTower

HIDING = 1e4
"""Taken from the score of a token that is not to be seen: its weight is zero, and half precision holds the number."""

FIRST_TOKEN = slice(0, 1)
LAST_TOKEN = slice(-1, None)


class TokenEmbedding(nn.Module):
    """Ids int64 [B, N] to tokens [B, N, d]. positions: [N, d]."""

    def __init__(self, tokens: nn.Embedding, positions: nn.Parameter) -> None:
        super().__init__()
        self.tokens, self.positions = tokens, positions

    def forward(self, ids: Tensor) -> Tensor:
        embedded: Tensor = self.tokens(ids) + self.positions[: ids.shape[1]]
        return embedded


class TextTower(TransformerTower):
    """The tower of a text whose tokens all see each other, also those behind its end, as in SigLIP.

    pooled: where the token stands that `readout` takes. end: id of the end of text.
    """

    embedding: TokenEmbedding

    def __init__(
        self,
        embedding: TokenEmbedding,
        blocks: Sequence[Block],
        readout: nn.Module,
        feature_width: int,
        pooled: slice,
        end: int,
    ) -> None:
        super().__init__(embedding, blocks, readout, feature_width)
        self.pooled, self.end = pooled, end

    def embed(self, window: Tensor) -> Embedded:
        return Embedded(self.embedding(window))

    def read(self, tokens: Tensor, beside: Beside) -> Tensor:
        return tokens[:, self.pooled]

    def typical(self, tokens: Tensor) -> Tensor:
        """The embedded end of text, without a position, as the released code of REP starts its buffers."""
        return self.embedding.tokens.weight[self.end]


class EndedTextTower(TextTower):
    """The same with the token at the end of text pooled. Beside the tokens stands its place, int64 [B]."""

    earlier: Tensor

    def __init__(
        self, embedding: TokenEmbedding, blocks: Sequence[Block], readout: nn.Module, feature_width: int, end: int
    ) -> None:
        super().__init__(embedding, blocks, readout, feature_width, LAST_TOKEN, end)
        count = embedding.positions.shape[0]
        self.register_buffer("earlier", torch.arange(count, 0, -1, dtype=torch.float32), persistent=False)

    def embed(self, window: Tensor) -> Embedded:
        return Embedded(self.embedding(window), (self.ends(window),))

    def read(self, tokens: Tensor, beside: Beside) -> Tensor:
        index = beside[0][:, None, None].expand(tokens.shape[0], 1, tokens.shape[2])
        return tokens.gather(1, index)

    def ends(self, ids: Tensor) -> Tensor:
        """Place of the first end of text, int64 [B]; the last token's where there is none.

        Without equal values, because not every engine takes the first of them.
        """
        found = (ids == self.end).to(self.earlier.dtype) * self.earlier[: ids.shape[1]]
        return functional.pad(found[:, :-1], (0, 1), value=0.5).argmax(dim=-1)


class CausalTextTower(EndedTextTower):
    """A text whose tokens see the slots and what stands before them, as in CLIP.

    Slots stand in front. They see each other and, unless they go through the blocks alone, the text up to its end, so
    that what stands behind it never matters; those tokens are embedded as zeros. Beside the tokens stand the end's
    place, int64 [B], and what hides the tokens behind it, [B, N].

    run: how many of the tokens go through the blocks once slots stand in front; all but in a collapsed tower.
    """

    causal = True

    before: Tensor
    places: Tensor

    def __init__(
        self, embedding: TokenEmbedding, blocks: Sequence[Block], readout: nn.Module, feature_width: int, end: int
    ) -> None:
        super().__init__(embedding, blocks, readout, feature_width, end)
        count = self.run = embedding.positions.shape[0]
        self.register_buffer("before", torch.full((count, count), -HIDING).triu(1), persistent=False)
        self.register_buffer("places", torch.arange(count), persistent=False)

    def embed(self, window: Tensor) -> Embedded:
        ends = self.ends(window)
        heard = (self.places[: window.shape[1]] <= ends[:, None]).to(self.before.dtype)
        return Embedded(self.embedding(window) * heard[..., None], (ends, (heard - 1) * HIDING))

    def step(
        self,
        k: int,
        sequence: Tensor,
        lead: int,
        fixed: Tensor | None = None,
        keep: Keep = "all",
        beside: Beside = (),
    ) -> Tensor:
        if lead and sequence.shape[1] > lead + self.run:
            sequence = sequence[:, : lead + self.run]
        return super().step(k, sequence, lead, fixed, keep, beside)

    def mask(self, k: int, lead: int, extra: int, keep: Keep, beside: Beside) -> Tensor | None:
        if not beside:
            return None  # Slots alone.
        hidden = beside[1]
        before = self.before[: hidden.shape[1], : hidden.shape[1]]
        if lead and self.run < hidden.shape[1]:
            hidden, before = hidden[:, : self.run], before[: self.run, : self.run]
        for_slots = functional.pad(hidden, (extra, 0))[:, None, None]
        # The token at the end sees what a slot sees.
        if keep == "slots" or k == self.steps - 1:
            return for_slots
        for_tokens = functional.pad(before, (extra, 0))[None, None]
        if keep == "tokens" or not lead:
            return for_tokens
        batch = hidden.shape[0]
        return torch.cat([for_slots.expand(-1, -1, lead, -1), for_tokens.expand(batch, -1, -1, -1)], dim=2)

    def hidden(self, beside: Beside) -> Tensor:
        return beside[1]

    def level(self, k: int, tokens: Tensor, beside: Beside = ()) -> Tensor:
        """Over the text alone, without what stands behind its end."""
        if not beside:
            return super().level(k, tokens)
        heard = (beside[1][:, : tokens.shape[1]] == 0).to(tokens.dtype)
        level: Tensor = torch.linalg.vector_norm(tokens * heard[..., None], dim=1)
        return level * heard.sum(dim=1, keepdim=True) ** -0.5

    def collapsed(self, placeholder: Tensor) -> CausalTextTower:
        """Without the tokens behind the end once slots stand in front: nobody sees them."""
        twin = copy(self)
        twin.run = int(self.ends(placeholder)) + 1
        return twin
