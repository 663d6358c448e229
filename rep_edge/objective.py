"""What a training step minimises, for both stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from rep_edge.config import TrainConfig
from rep_edge.model import RepModel
from rep_edge.signals import Pattern


class Objective(nn.Module):
    """The loss of a batch whose windows have a pattern each; one module, so that one call spans all patterns of a step.

    Cross entropy + adapter.orthogonality * eq. 6 + distillation * KL(teacher's || model's probabilities). The teacher
    sees the same windows complete; it is not a part of the module, and never learns.
    """

    def __init__(self, model: RepModel, config: TrainConfig, teacher: RepModel | None = None) -> None:
        super().__init__()
        self.model, self.config = model, config
        self._teacher = (teacher,)

    def teacher_to(self, device: torch.device) -> None:
        """Move the teacher, which no wrapper of this module moves."""
        for teacher in filter(None, self._teacher):
            teacher.to(device)

    def forward(self, windows: Mapping[str, Tensor], targets: Tensor, patterns: Sequence[Pattern]) -> Tensor:
        """windows: [B, channels, samples]; targets: int64 [B]; patterns: B of them. A scalar."""
        wanted = self._taught(windows)
        total = targets.new_zeros((), dtype=torch.float32)
        for pattern in sorted(set(patterns), key=self.model.spec.pattern_name):
            rows = torch.tensor([i for i, p in enumerate(patterns) if p == pattern], device=targets.device)
            output = self.model({name: windows[name][rows] for name in pattern}, pattern)
            loss = functional.cross_entropy(output.logits, targets[rows], label_smoothing=self.config.label_smoothing)
            loss = loss + self.model.config.adapter.orthogonality * output.orthogonality
            if wanted is not None:
                log_p = output.logits.log_softmax(dim=-1)
                loss = loss + self.config.distillation * functional.kl_div(log_p, wanted[rows], reduction="batchmean")
            total = total + loss * (len(rows) / len(targets))
        return total

    def _taught(self, windows: Mapping[str, Tensor]) -> Tensor | None:
        """The complete-data model's probabilities [B, classes], or None where nothing is distilled."""
        teacher = self._teacher[0]
        if teacher is None or not self.config.distillation:
            return None
        with torch.no_grad():
            logits: Tensor = teacher(windows, teacher.spec.complete).logits
        return logits.softmax(dim=-1)
