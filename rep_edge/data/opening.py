"""From the data section of a configuration to the dataset it names."""

from __future__ import annotations

from rep_edge.config import DataConfig, RecordingsData, SimulatedData
from rep_edge.data.windows import WindowDataset
from rep_edge.signals import WindowSpec


def open_dataset(data: DataConfig, spec: WindowSpec) -> WindowDataset:
    """The source that `data` configures, cut into the windows of `spec`.

    Only the chosen source is imported, so that no source needs another's packages. Raises InputError where the source
    does.
    """
    if isinstance(data, SimulatedData):
        from rep_edge.data.simulated import SimulatedDataset

        return SimulatedDataset(data, spec)
    if isinstance(data, RecordingsData):
        from rep_edge.data.recordings import RecordingsDataset

        return RecordingsDataset(data, spec)
    from rep_edge.data.mod import ModDataset

    return ModDataset(data, spec)
