"""What a run is made of: structs read from one YAML file, each field with its unit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from rep_edge.errors import InputError
from rep_edge.signals import WindowSpec, with_kinds

Count = Annotated[int, msgspec.Meta(ge=1)]
Natural = Annotated[int, msgspec.Meta(ge=0)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Positive = Annotated[float, msgspec.Meta(gt=0)]
NotNegative = Annotated[float, msgspec.Meta(ge=0)]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all sections: immutable, named fields, unknown keys refused."""


class SimulatedData(Section, frozen=True, kw_only=True, tag_field="source", tag="simulated"):
    """The simulated vehicles and walkers of `rep_edge.data.simulated`.

    runs_per_class: independent runs (site, distance, speed, wind, gains) drawn for each class, over all splits.
    windows_per_run: windows cut from one run, without overlap.
    seed: seed of the whole data set.
    """

    runs_per_class: int = 60
    windows_per_run: int = 14
    seed: int = 0


class RecordingsData(Section, frozen=True, kw_only=True, tag_field="source", tag="recordings"):
    """A folder of one's own recordings (`rep_edge.data.recordings`).

    root: folder with one sub-folder per modality and labels.csv.
    """

    root: str


class ModData(Section, frozen=True, kw_only=True, tag_field="source", tag="mod"):
    """FOCAL's MOD as it lies on disk (`rep_edge.data.mod`).

    root: folder of the raw runs or of the preprocessed windows (decided by what it holds).
    split: "run" keeps a run on one side; "published" uses the index files, in which neighbours stand on both sides.
    trim_s: per "<folder>/<node>", seconds to cut at start and end of a raw run.
    """

    root: str
    split: Literal["run", "published"] = "run"
    trim_s: dict[str, tuple[float, float]] = {}


class MmimdbData(Section, frozen=True, kw_only=True, tag_field="source", tag="mmimdb"):
    """MM-IMDb's posters and plots (`rep_edge.data.mmimdb`). root: folder with images/, labels/ and split.json."""

    root: str


class Food101Data(Section, frozen=True, kw_only=True, tag_field="source", tag="food101"):
    """UPMC Food-101's pictures and titles (`rep_edge.data.food101`). root: folder with images/ and its tables."""

    root: str


class HatefulMemesData(Section, frozen=True, kw_only=True, tag_field="source", tag="hateful_memes"):
    """The Hateful Memes (`rep_edge.data.hateful_memes`). root: folder with img/ and the .jsonl files."""

    root: str


class SentimentData(Section, frozen=True, kw_only=True, tag_field="source", tag="sentiment"):
    """A feature file of CH-SIMS, CMU-MOSI or CMU-MOSEI (`rep_edge.data.sentiment`). file: the .pkl file."""

    file: str
    name: Literal["CH-SIMS", "CMU-MOSI", "CMU-MOSEI"]


VisionLanguageData = MmimdbData | Food101Data | HatefulMemesData
DataConfig = SimulatedData | RecordingsData | ModData | VisionLanguageData | SentimentData


class SplitConfig(Section, frozen=True, kw_only=True):
    """Shares of the recordings (or runs) of each class in validation and test; the rest trains."""

    validation: float = 0.15
    test: float = 0.25
    seed: int = 0


class FrontendConfig(Section, frozen=True, kw_only=True):
    """Waveform to segment spectra.

    segments: equal segments of one window, each with its own DFT.
    channels: "log_magnitude" (one-sided) or "complex" (two-sided real and imaginary).
    """

    segments: int = 10
    channels: Literal["log_magnitude", "complex"] = "log_magnitude"


class SwinConfig(Section, frozen=True, kw_only=True, tag_field="kind", tag="swin"):
    """The SW-T encoder, one per modality.

    patch_bins: per modality, frequency bins of one patch (segments are never joined).
    widths, depths: channels and blocks of each stage; heads: attention heads of every block.
    window: side of the square attention window in tokens; feature_width: width of the pooled feature.
    """

    patch_bins: dict[str, int]
    widths: tuple[int, ...] = (64, 128, 256)
    depths: tuple[int, ...] = (2, 2, 4)
    heads: int = 4
    window: int = 3
    mlp_ratio: float = 4.0
    feature_width: int = 256
    dropout: float = 0.2
    attention_dropout: float = 0.2
    drop_path: float = 0.1


class ClipConfig(Section, frozen=True, kw_only=True, tag_field="kind", tag="clip"):
    """CLIP's towers, the image tower for an image, the text tower for a text.

    library: who knows the model. model: open_clip's name of it, or a .json file with an open_clip model configuration;
    for transformers a folder with a CLIPModel or SiglipModel, or its name on the hub.
    pretrained: with open_clip its tag of the weights, or a file of them; random_init: random weights instead.
    tokenizer: a tokenizer.json file; None: CLIP's own vocabulary.
    """

    library: Literal["open_clip", "transformers"] = "open_clip"
    model: str = "ViT-B-16"
    pretrained: str | None = None
    random_init: bool = False
    tokenizer: str | None = None


class MultConfig(Section, frozen=True, kw_only=True, tag_field="kind", tag="mult"):
    """MulT's towers, one per sequence of features.

    width: of one stream of cross-modal attention; heads: of every block; layers: cross-modal blocks of each stream;
    memory_layers: self-attention blocks behind them; kernel: taps of the temporal convolution.
    pretrained: a checkpoint whose towers stage 1 starts from, such as one trained on CMU-MOSEI.
    """

    width: int = 30
    heads: int = 5
    layers: int = 5
    memory_layers: int = 5
    kernel: int = 1
    attention_dropout: Share = 0.1
    relu_dropout: Share = 0.1
    residual_dropout: Share = 0.1
    embedding_dropout: Share = 0.25
    output_dropout: Share = 0.1
    pretrained: str | None = None


EncoderConfig = SwinConfig | ClipConfig | MultConfig


class AdapterConfig(Section, frozen=True, kw_only=True):
    """REP and the adapters it is compared with.

    memory: "fed" (the paper's equations), "learned" (the released code), "prompts" (learned prompts per pattern, MAP),
        "none" (the head alone).
    slots: L, extra positions per modality (divisible by 6).
    first: block at which the slots enter (0: the first one, as the paper has it); depth: D, blocks with replay from
    there. noise, noise_type: strength and law of the noise in the start of the buffers (eq. 10).
    bottleneck: hidden width of G_m (`fed`) and of the residual maps (`learned`).
    shared_width: d_s, width of the shared buffer.
    dynamic_initialisation, private_buffer, shared_buffer, replay: rows of tables 3 and 4; all on is full REP.
    train_dynamic: `learned`: train the dynamic attention and its queries (off: as the released code publishes it).
    read_slots: `learned`: the head also reads the slots that were carried through the tower.
    reader: how the head reads slots and buffers: "rows" each with a map of its own, or their "mean" through the
        bottleneck, which is small where rows are wide.
    cache: blocks after which a tower's levels are cached, past all deeper blocks, for the head to read; empty: none.
    zero_missing: a missing modality adds nothing at the head.
    orthogonality: lambda, weight of the orthogonality loss.
    """

    memory: Literal["fed", "learned", "prompts", "none"] = "learned"
    slots: int = 6
    first: int = 0
    depth: int = 8
    noise: float = 0.2
    noise_type: Literal["gaussian", "uniform", "laplace"] = "gaussian"
    bottleneck: int = 64
    shared_width: int = 64
    dynamic_initialisation: bool = True
    private_buffer: bool = True
    shared_buffer: bool = True
    replay: bool = True
    train_dynamic: bool = True
    read_slots: bool = True
    reader: Literal["rows", "mean"] = "rows"
    cache: tuple[int, ...] = ()
    zero_missing: bool = True
    orthogonality: float = 0.0


class TrainConfig(Section, frozen=True, kw_only=True):
    """One stage of training.

    epochs: passes over the training windows; batch_size: windows per step over all devices; micro_batch: windows of it
        that are in memory at once (0: all of them), their gradients added up.
    learning_rate: peak rate after warm-up; warmup: share of the steps; floor: last rate as a share of the peak
        (cosine).
    missing_rate: share of training windows that lose a modality (stage 2 only; the patterns share it equally). 0 is
        the paper's "complete training" (appendix 6.1).
    missing: the modalities that go missing, one at a time (stage 2 only); empty: every usable pattern.
    tables: folder of saved missing tables, one per side of the data, drawn where they are not there yet and then kept
        for every epoch and method (the paper's way); None: which windows lose what is drawn anew for each epoch.
    trainable: stage 1: "everything", or "head" on towers that stay as they are. Stage 2: "adapter" (adapter and head),
        "matched" (as many backbone parameters as REP trains, from the head downwards), "everything".
    matched_parameters: with "matched", how many.
    distillation: stage 2: weight of the loss against the complete-data model's probabilities.
    patience: epochs without a better validation accuracy before the run stops (0: never).
    augment: random time shift and spectral colouring of the streams in training windows.
    """

    epochs: Count = 20
    batch_size: Count = 64
    micro_batch: Natural = 0
    learning_rate: Positive = 1e-3
    weight_decay: NotNegative = 0.05
    warmup: Share = 0.1
    floor: Share = 0.01
    clip_norm: Positive = 5.0
    label_smoothing: Share = 0.0
    missing_rate: Share = 0.7
    missing: tuple[str, ...] = ()
    tables: str | None = None
    trainable: Literal["head", "adapter", "matched", "everything"] = "adapter"
    matched_parameters: Natural = 0
    distillation: NotNegative = 0.0
    patience: Natural = 0
    augment: bool = True


class Config(Section, frozen=True, kw_only=True):
    """One experiment, end to end.

    task: "multiclass" (one of the labels), "multilabel" (any of them) or "regression" (a value). metric: the one that
    chooses the best epoch and heads the tables; None: the task's first.
    """

    signals: WindowSpec
    data: DataConfig
    encoder: EncoderConfig
    task: Literal["multiclass", "multilabel", "regression"] = "multiclass"
    metric: str | None = None
    split: SplitConfig = SplitConfig()
    frontend: FrontendConfig = FrontendConfig()
    adapter: AdapterConfig = AdapterConfig()
    train: TrainConfig = TrainConfig()
    adapt: TrainConfig = TrainConfig()
    seed: Natural = 0


def read_config(path: Path) -> Config:
    """The configuration in a YAML file. Raises InputError that names the file and the field."""
    try:
        return config_from(msgspec.yaml.decode(path.read_bytes()))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except (msgspec.MsgspecError, ValueError) as error:
        raise InputError(f"{path}: {error}") from error
    except ImportError as error:
        raise InputError('PyYAML is not installed: run  pip install "rep-edge[train]"') from error


def with_random_init(config: Config) -> Config:
    """The same with towers that start from random weights. Raises InputError where none start from trained ones."""
    if not isinstance(config.encoder, ClipConfig):
        raise InputError("--random-init: is for an encoder of kind clip; others start from random weights anyway")
    encoder = msgspec.structs.replace(config.encoder, random_init=True, pretrained=None)
    return msgspec.structs.replace(config, encoder=encoder)


def config_from(plain: object) -> Config:
    """The configuration in decoded YAML or JSON. A modality without a `kind` is a stream, an encoder without one swin.

    Raises msgspec.ValidationError that names the field.
    """
    if isinstance(plain, dict):
        plain = dict(plain)
        if isinstance(plain.get("encoder"), dict):
            plain["encoder"] = {"kind": "swin", **plain["encoder"]}
        if isinstance(plain.get("signals"), dict) and "modalities" in plain["signals"]:
            plain["signals"] = {**plain["signals"], "modalities": with_kinds(plain["signals"]["modalities"])}
    return msgspec.convert(plain, type=Config)
