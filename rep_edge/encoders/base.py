"""The one interface between a backbone and the adapter: an encoder that can be run block by block with slots."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

Keep: TypeAlias = Literal["all", "tokens", "slots"]
"""Which outputs of a block somebody reads."""

Beside: TypeAlias = tuple[Tensor, ...]
"""What a tower's blocks and its pooling look up beside the sequence, each [B or 1, ...]: where a text ends, the tokens
of another modality."""


class Embedded(NamedTuple):
    """tokens: [B, N, width(0)]; beside: what belongs to them, empty for most towers."""

    tokens: Tensor
    beside: Beside = ()


class Encoder(nn.Module):
    """The backbone of one modality, advanced block by block.

    A sequence is [B, lead + N, d]: `lead` slots in front, then the N tokens. Slots enter through concatenation, take
    part in every block and never change the tokens' number. Before block k come `advance` and `widen`, so that sequence
    and buffers have width(k) when the block runs.

    steps: number of blocks; feature_width: width of the pooled feature. sources: other modalities whose tokens the
    blocks look at. causal: whether a token sees only what stands before it, so that a window may be cut behind its end,
    and slots may go through the blocks alone.
    """

    steps: int
    feature_width: int
    sources: tuple[str, ...] = ()
    causal: bool = False

    @abstractmethod
    def width(self, k: int) -> int:
        """Width d of the sequence inside block k."""

    @abstractmethod
    def embed(self, window: Tensor) -> Embedded:
        """Window [B, *shape of the modality] to tokens."""

    def meet(self, own: Embedded, others: Mapping[str, Embedded]) -> Embedded:
        """`own` as the blocks take it, together with the embedded windows of the `sources`; here unchanged."""
        return own

    @abstractmethod
    def advance(self, k: int, sequence: Tensor, lead: int) -> Tensor:
        """The sequence as block k takes it: [B, lead + N', width(k)]; unchanged where block k - 1 leaves it so."""

    @abstractmethod
    def widen(self, k: int, rows: Tensor) -> Tensor:
        """Rows [..., width(k - 1)] that stand outside the tokens' grid, as block k takes them: [..., width(k)]."""

    @abstractmethod
    def step(
        self, k: int, sequence: Tensor, lead: int, fixed: Tensor | None = None, keep: Keep = "all", beside: Beside = ()
    ) -> Tensor:
        """Block k over slots and tokens.

        fixed: what `remember` made of slots that are attended to and read by nobody, [1 or B, F, *].
        keep: what is computed and returned: the whole sequence, the tokens alone or the slots alone.
        """

    @abstractmethod
    def remember(self, k: int, rows: Tensor) -> Tensor:
        """What block k keeps of slots [B, F, width(k)] whose output is read by nobody: their keys and values."""

    @abstractmethod
    def pool(self, tokens: Tensor, beside: Beside = ()) -> Tensor:
        """Tokens after the last block, without slots, to the feature [B, feature_width]."""

    def hidden(self, beside: Beside) -> Tensor | None:
        """What is added to the score of each token [B, N] for whoever looks at all of them; here nothing."""
        return None

    def typical(self, tokens: Tensor) -> Tensor:
        """The row [d] that learned buffers start from; here the mean of these tokens [B, N, d]."""
        return tokens.mean(dim=(0, 1))

    def level(self, k: int, tokens: Tensor, beside: Beside = ()) -> Tensor:
        """Root mean square of every channel over the tokens that block k left: [B, N, width(k)] -> [B, width(k)]."""
        level: Tensor = torch.linalg.vector_norm(tokens, dim=1) * tokens.shape[1] ** -0.5
        return level

    def from_pooled_end(self) -> list[nn.Parameter]:
        """The parameters, those nearest to the feature first; here by the order in which they were registered."""
        return list(self.parameters())[::-1]

    def collapsed(self, placeholder: Tensor) -> Encoder:
        """An equal encoder for a placeholder window [1, *shape], with equal tokens computed once where that is
        possible; here the encoder itself."""
        return self


def join(parts: Sequence[Tensor]) -> Tensor:
    """[B, L, d], ... one behind the other along the sequence; a batch of one is repeated to the others'."""
    return torch.cat(of_one_batch(parts), dim=1)


def of_one_batch(parts: Sequence[Tensor]) -> list[Tensor]:
    """[B, ...], ... with a batch of one repeated to the others'."""
    batch = next((part.shape[0] for part in parts if part.shape[0] != 1), 1)
    return [part if part.shape[0] == batch else part.expand(batch, *part.shape[1:]) for part in parts]


def cut(sequence: Tensor, sizes: Sequence[int]) -> list[Tensor]:
    """The leading parts of a sequence [B, N, d] in these sizes, then the rest."""
    rest = sequence.shape[1] - sum(sizes)
    return list(torch.split(sequence, [*sizes, rest], dim=1))
