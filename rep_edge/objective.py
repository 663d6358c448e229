"""What a training step minimises, for both stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from rep_edge.config import TrainConfig
from rep_edge.model import RepModel
from rep_edge.signals import Pattern


class Objective(nn.Module):
    """The loss of a batch whose windows have a pattern each; one module, so that one call spans all patterns of a step.

    The task's loss + adapter.orthogonality * eq. 6 + distillation * distance to the teacher's answers, which for one of
    several labels are cross entropy and KL divergence. The teacher sees the same windows complete; it is not a part of
    the module, and never learns.
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
        """windows: [B, *shape of the modality]; targets: [B, ...]; patterns: B of them. A scalar."""
        task, wanted = self.model.task, self._taught(windows)
        total = targets.new_zeros((), dtype=torch.float32)
        for pattern in sorted(set(patterns), key=self.model.spec.pattern_name):
            rows = torch.tensor([i for i, p in enumerate(patterns) if p == pattern], device=targets.device)
            output = self.model({name: windows[name][rows] for name in pattern}, pattern)
            loss = task.loss(output.logits, targets[rows], self.config.label_smoothing)
            loss = loss + self.model.config.adapter.orthogonality * output.orthogonality
            if wanted is not None:
                loss = loss + self.config.distillation * task.distance(output.logits, wanted[rows])
            total = total + loss * (len(rows) / len(targets))
        return total

    def _taught(self, windows: Mapping[str, Tensor]) -> Tensor | None:
        """The complete-data model's answers [B, outputs], or None where nothing is distilled."""
        teacher = self._teacher[0]
        if teacher is None or not self.config.distillation:
            return None
        with torch.no_grad():
            output: Tensor = teacher(windows, teacher.spec.complete).logits
        return teacher.task.answers(output)
