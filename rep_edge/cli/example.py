"""One example classified and printed: for bundles whose examples stand alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rep_edge.cli.telling import tell
from rep_edge.errors import InputError

if TYPE_CHECKING:
    from rep_edge.runtime.classifier import Classifier
    from rep_edge.runtime.prediction import Prediction
    from rep_edge.signals import WindowSpec

SHOWN = 5
"""Labels that are printed, the most probable first."""


def classify_example(classifier: Classifier, texts: Sequence[str], json: bool) -> None:
    """Print what the classifier says of the example that NAME=VALUE texts make.

    Raises InputError, MissingExtraError.
    """
    import msgspec

    from rep_edge.runtime.inputs.examples import Examples

    sources = named_values(texts, classifier.spec)
    for name in classifier.spec.names:
        tell(f"{name}: {'given' if name in sources else 'not given, missing'}")
    prediction = classifier(Examples(classifier.bundle)(sources))
    classifier.close()
    if json:
        print(msgspec.json.encode(prediction).decode())
    else:
        print_prediction(prediction)


def named_values(texts: Sequence[str], spec: WindowSpec) -> dict[str, str]:
    """Modality to its value, in modality order, for every NAME=VALUE.

    Raises InputError for another form, a modality that the bundle has not or that is given twice, and for none at all.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator or name not in spec.names:
            known = ", ".join(spec.names)
            raise InputError(f"--source {text[:60]}: must be NAME=VALUE with NAME one of {known}")
        if name in found:
            raise InputError(f"--source {name}: is given twice")
        found[name] = value
    if not found:
        raise InputError(
            f"--source: give at least one of {', '.join(spec.names)}, such as --source {spec.names[0]}=..."
        )
    return {name: found[name] for name in spec.names if name in found}


def print_prediction(prediction: Prediction) -> None:
    """The answer first, then the most probable labels."""
    latency = f"{prediction.pattern}, {1e3 * prediction.latency_s:.1f} ms"
    if prediction.value is not None:
        print(f"{prediction.label} {prediction.value:+.3f}   {latency}")
        return
    several = prediction.label_set is not None
    answer = ", ".join(prediction.label_set or ()) or "none" if several else prediction.label
    print(f"{answer}   {latency}")
    ordered = sorted(prediction.probabilities.items(), key=lambda item: -item[1])
    for label, share in ordered[:SHOWN]:
        print(f"  {share:.3f}  {label}")
