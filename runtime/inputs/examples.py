"""One example from what a user names: a picture's file, a text itself, a file of features."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from rep_edge.errors import InputError
from rep_edge.runtime.bundle import Bundle
from rep_edge.runtime.inputs.images import prepare_image, read_image
from rep_edge.runtime.inputs.texts import Tokenizer, read_text
from rep_edge.signals import Example, FeatureSequence, Image, Stream, Text


class Examples:
    """The inputs of a bundle whose examples stand alone, prepared as they were for training.

    examples = Examples(classifier.bundle)
    classifier(examples({"image": "cat.jpg", "text": "a cat"}))
    """

    def __init__(self, bundle: Bundle) -> None:
        """Raises InputError for a tokenizer that cannot be read, MissingExtraError without the packages."""
        manifest = bundle.manifest
        self.spec = manifest.spec
        self._tokenizers = {
            m.name: Tokenizer((bundle.path / manifest.tokenizers[m.name].path).read_text(encoding="utf-8"), m)
            for m in manifest.modalities
            if isinstance(m, Text)
        }

    def __call__(self, sources: Mapping[str, str]) -> dict[str, Example]:
        """Modality to its window. sources: modality to the path of a picture or of features (.npy), or to a text.

        Raises InputError for an unknown name and for what cannot be read.
        """
        return {name: self._read(name, source) for name, source in sources.items()}

    def _read(self, name: str, source: str) -> Example:
        if name not in self.spec.names:
            raise InputError(f"{name}: is no modality of this bundle; it has {', '.join(self.spec.names)}")
        modality = self.spec[name]
        if isinstance(modality, Image):
            return prepare_image(read_image(Path(source)), modality)
        if isinstance(modality, Text):
            return self._tokenizers[name](read_text(source, name))
        if isinstance(modality, FeatureSequence):
            return read_features(Path(source), modality)
        assert isinstance(modality, Stream)
        raise InputError(f"{name}: is a stream of samples and cannot be given as one example")


def read_features(path: Path, modality: FeatureSequence) -> Example:
    """Float32 [length, width] of a .npy file. Raises InputError for another shape, and for a file that is none."""
    try:
        values = np.load(path, allow_pickle=False)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); name a .npy file") from error
    except (ValueError, EOFError) as error:
        raise InputError(f"{path}: is no array of numbers ({error}); save it with numpy.save") from error
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu":
        raise InputError(f"{path}: is no array of numbers; save it with numpy.save")
    if values.shape != modality.shape:
        raise InputError(f"{path}: has shape {list(values.shape)}, and {modality.name} is {list(modality.shape)}")
    return values.astype(np.float32)
