"""Models and adapters on the Hugging Face Hub: fetched into its cache, sent as the folder that a checkpoint is."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import msgspec
from huggingface_hub import ModelCard, ModelHubMixin

from rep_edge.errors import InputError

if TYPE_CHECKING:
    from rep_edge.model import RepModel

CARD = "README.md"


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Where a model came from, as its folder tells.

    dataset: name of the data; training: summary of the run; evaluation: evaluation.json as it is, where there is one.
    """

    dataset: str = ""
    training: dict[str, Any] = {}
    evaluation: bytes | None = None


class Access(NamedTuple):
    """How a repository is reached: the options that huggingface_hub's own `from_pretrained` has."""

    revision: str | None = None
    token: str | bool | None = None
    cache_dir: str | Path | None = None
    local_files_only: bool = False
    force_download: bool = False


class HubFolder(ModelHubMixin):
    """What is saved as a folder with a model card, and sent to the Hub as that folder."""

    @abstractmethod
    def _write(self, folder: Path, beside: Mapping[str, bytes]) -> None:
        """Write the folder's files together with those `beside` them."""

    @abstractmethod
    def _evaluation(self) -> bytes | None:
        """The scores that came with the model."""

    @abstractmethod
    def _card(self, name: str, evaluation: bytes | None, metadata: Mapping[str, object]) -> str:
        """The text of the model card."""

    def save_pretrained(
        self,
        save_directory: str | Path,
        *,
        push_to_hub: bool = False,
        repo_id: str | None = None,
        model_card_kwargs: dict[str, Any] | None = None,
        config: object = None,
        **push_to_hub_kwargs: Any,
    ) -> str | None:
        """Write the folder, whole or not at all, and with `push_to_hub` send it to `repo_id` (the folder's name).

        A README.md that is there stays as it is. Scores in an evaluation.json that is there go into a new one.
        model_card_kwargs: entries of the card's metadata, such as license or language. config: not used, config.json is
        the model's own. Returns the address of the commit where one was made. Raises InputError where the folder cannot
        be written or the Hub does not take it.
        """
        from rep_edge.checkpoint import EVALUATION, read_evaluation

        folder, wanted = Path(save_directory), model_card_kwargs or {}
        scores = read_evaluation(folder) or self._evaluation()
        beside = {} if scores is None else {EVALUATION: scores}
        if not (folder / CARD).exists():
            card = self.generate_model_card(**{"name": folder.resolve().name, "evaluation": scores, **wanted})
            beside[CARD] = str(card).encode()
        self._write(folder, beside)
        if not push_to_hub:
            return None
        return self.push_to_hub(repo_id or folder.resolve().name, model_card_kwargs=wanted, **push_to_hub_kwargs)

    def push_to_hub(self, repo_id: str, *, model_card_kwargs: dict[str, Any] | None = None, **options: Any) -> str:
        """Send the folder to a repository, made where it is not there yet; returns the address of the commit.

        model_card_kwargs: entries of the card's metadata, such as license or language. options: those of
        `huggingface_hub.ModelHubMixin.push_to_hub`, such as private, token, branch, commit_message, create_pr and
        ignore_patterns (README.md keeps the card that is there). Raises InputError where the Hub does not take it.
        """
        wanted = {"name": repo_id, **(model_card_kwargs or {})}
        with _one_line(repo_id):
            return str(super().push_to_hub(repo_id, model_card_kwargs=wanted, **options))

    def generate_model_card(
        self, *, name: str = "model", evaluation: bytes | None = None, **metadata: object
    ) -> ModelCard:
        """The card. name: of the folder or repository; evaluation: content of an evaluation.json, None: the model's
        own; metadata: entries that are added to the card's or replace them. Raises InputError for scores that are none.
        """
        scores = self._evaluation() if evaluation is None else evaluation
        return ModelCard(self._card(name, scores, metadata))


class HubModel(HubFolder):
    """The Hub's methods of a `RepModel`, which is the one class that inherits this.

    origin: where it came from, as loading leaves it; training sets its own.
    """

    origin: Origin = Origin()

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        force_download: bool = False,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        revision: str | None = None,
    ) -> RepModel:
        """The model of a checkpoint's folder or of a repository on the Hub, on the CPU, in evaluation mode.

        The Hub is asked only for what is no folder here. revision: branch, tag or commit; token: to log in with (None:
        the one of `hf auth login`); cache_dir: where files are kept; local_files_only: never ask the Hub. Weights are
        read as safetensors and as nothing else. Raises InputError where there is no such model or it cannot be had.
        """
        from rep_edge.checkpoint import CHECKPOINT_FILES, load_pretrained

        access = Access(revision, token, cache_dir, local_files_only, force_download)
        return load_pretrained(fetch(pretrained_model_name_or_path, CHECKPOINT_FILES, access))

    def with_adapter(
        self,
        adapter_name_or_path: str | Path,
        *,
        force_download: bool = False,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        revision: str | None = None,
    ) -> RepModel:
        """A new model of these towers and an adapter that was saved alone, from a folder or from the Hub.

        Options as for `from_pretrained`. Raises InputError where there is no such adapter, or one of other towers.
        """
        from rep_edge.checkpoint import ADAPTER_FILES, apply_adapter

        access = Access(revision, token, cache_dir, local_files_only, force_download)
        return apply_adapter(self._model(), fetch(adapter_name_or_path, ADAPTER_FILES, access))

    def save_adapter(self, folder: str | Path, *, model_card_kwargs: dict[str, Any] | None = None) -> None:
        """Write memory and head alone, with a card of their own; otherwise as `save_pretrained`.

        Raises InputError where the model has no adapter, or towers that learned as well.
        """
        HubAdapter(self._model()).save_pretrained(folder, model_card_kwargs=model_card_kwargs)

    def push_adapter_to_hub(self, repo_id: str, **options: Any) -> str:
        """Send memory and head alone, with a card of their own; otherwise as `push_to_hub`.

        Raises InputError where the model has no adapter, or towers that learned as well.
        """
        return HubAdapter(self._model()).push_to_hub(repo_id, **options)

    def _model(self) -> RepModel:
        return cast("RepModel", self)

    def _write(self, folder: Path, beside: Mapping[str, bytes]) -> None:
        from rep_edge.checkpoint import save_pretrained

        origin = self.origin
        save_pretrained(self._model(), folder, training=origin.training, dataset=origin.dataset, beside=beside)

    def _evaluation(self) -> bytes | None:
        return self.origin.evaluation

    def _card(self, name: str, evaluation: bytes | None, metadata: Mapping[str, object]) -> str:
        from rep_edge.model_card import model_card

        return model_card(self._model(), name, evaluation, metadata)


class HubAdapter(HubFolder):
    """A model's adapter alone, as a folder. Raises InputError where it has none that stands alone."""

    def __init__(self, model: RepModel) -> None:
        from rep_edge.checkpoint import require_adapter

        require_adapter(model)
        self.model = model

    def _write(self, folder: Path, beside: Mapping[str, bytes]) -> None:
        from rep_edge.checkpoint import save_adapter

        origin = self.model.origin
        save_adapter(self.model, folder, training=origin.training, dataset=origin.dataset, beside=beside)

    def _evaluation(self) -> bytes | None:
        return self.model.origin.evaluation

    def _card(self, name: str, evaluation: bytes | None, metadata: Mapping[str, object]) -> str:
        from rep_edge.model_card import adapter_card

        return adapter_card(self.model, name, evaluation, metadata)


def fetch(where: str | Path, files: Sequence[str], access: Access) -> Path:
    """The folder itself, or of a repository on the Hub the folder in the cache, with these files (patterns) of it.

    Raises InputError where the repository cannot be had; a path that is no folder comes back as it is.
    """
    if Path(where).is_dir() or not _names_repository(where):
        return Path(where)
    from huggingface_hub import snapshot_download

    with _one_line(str(where)):
        return Path(snapshot_download(str(where), allow_patterns=list(files), **access._asdict()))


def _names_repository(where: str | Path) -> bool:
    """Whether the Hub may be asked for it: a path given as a Path, and one of three parts, is a folder's."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(str(where))
    except HFValidationError:
        return False
    return isinstance(where, str)


@contextmanager
def _one_line(repository: str) -> Iterator[None]:
    """What goes wrong between here and the Hub, as an InputError of one line."""
    from huggingface_hub import errors

    login = "log in with  hf auth login"
    try:
        yield
    except errors.GatedRepoError as error:
        raise InputError(
            f"{repository}: its owner lets in those who asked; ask on its page on the Hub, then {login}"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise InputError(
            f"{repository}: no such folder here and no such repository on the Hub, or a private one; "
            f"check the name or {login}"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise InputError(f"{repository}: has no such revision; name a branch, tag or commit of it") from error
    except errors.HFValidationError as error:
        raise InputError(f"{repository}: is no name of a repository ({_line(error)})") from error
    except errors.LocalEntryNotFoundError as error:
        raise InputError(
            f"{repository}: no such folder here, not whole in the cache, and the Hub cannot be reached; "
            "connect to the network or give a folder"
        ) from error
    except errors.HfHubHTTPError as error:
        raise InputError(f"{repository}: the Hub refuses ({_line(error)}); check your rights or {login}") from error
    # The base of the HTTP library that this version of huggingface_hub uses.
    except errors.HTTPError as error:  # type: ignore[attr-defined]
        raise InputError(
            f"{repository}: the Hub cannot be reached ({_line(error)}); connect to the network and try again"
        ) from error
    except OSError as error:
        raise InputError(f"{repository}: cannot be fetched or sent ({_line(error)})") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
