"""From the data section of a configuration to the dataset it names."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from rep_edge.config import DataConfig, ModData, RecordingsData, SentimentData, SimulatedData
from rep_edge.data.windows import WindowDataset
from rep_edge.errors import InputError
from rep_edge.signals import Stream, Text, WindowSpec

NO_TOKENIZERS: Mapping[str, str] = MappingProxyType({})


def open_dataset(data: DataConfig, spec: WindowSpec, tokenizers: Mapping[str, str] = NO_TOKENIZERS) -> WindowDataset:
    """The source that `data` configures, as windows of `spec`. tokenizers: definitions by name of the text modality.

    Only the chosen source is imported, so that no source needs another's packages. Raises InputError where the source
    does.
    """
    if isinstance(data, (SimulatedData, RecordingsData, ModData)):
        return _of_streams(data, spec)
    if isinstance(data, SentimentData):
        from rep_edge.data.sentiment import SentimentDataset

        return SentimentDataset(data, spec)
    from rep_edge.data.vision_language import VisionLanguageDataset
    from rep_edge.runtime.inputs.texts import Tokenizer

    texts = [m for m in spec.modalities if isinstance(m, Text)]
    tokenizer = Tokenizer(tokenizers[texts[0].name], texts[0]) if texts else None
    return VisionLanguageDataset(data, spec, tokenizer)


def _of_streams(data: SimulatedData | RecordingsData | ModData, spec: WindowSpec) -> WindowDataset:
    other = [m.name for m in spec.modalities if not isinstance(m, Stream)]
    if other:
        raise InputError(f"signals: {other[0]} is no stream of samples, which this data is made of; change modalities")
    if isinstance(data, SimulatedData):
        from rep_edge.data.simulated import SimulatedDataset

        return SimulatedDataset(data, spec)
    if isinstance(data, RecordingsData):
        from rep_edge.data.recordings import RecordingsDataset

        return RecordingsDataset(data, spec)
    from rep_edge.data.mod import ModDataset

    return ModDataset(data, spec)
