"""The Hub without a network: what would be sent, what is fetched from a server that answers as the Hub does, and every
refusal as one line."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest
from checkpoints import same_answers
from huggingface_hub import HfApi, ModelCard, ModelHubMixin, constants
from huggingface_hub.utils import close_session
from tiny import tiny_model

from rep_edge.checkpoint import ADAPTER, EVALUATION, RECORD, WEIGHTS, save_pretrained
from rep_edge.errors import InputError
from rep_edge.hub import CARD, Access, Origin, fetch
from rep_edge.model import RepModel

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def model_with_scores() -> RepModel:
    model = tiny_model("fed")
    scores = [
        {
            "method": "REP fed",
            "setting": "acoustic",
            "missing_rate": None,
            "seed": 0,
            "metric": "accuracy",
            "scores": {"accuracy": 0.875},
            "low": 0.8,
            "high": 0.9,
        }
    ]
    model.origin = Origin(dataset="toy", training={"epochs": 3}, evaluation=json.dumps(scores).encode())
    return model


def backbone_of(model: RepModel) -> RepModel:
    """Another model on the same towers, with another head and no memory."""
    backbone = RepModel(model.config, model.labels, dict(model.encoders.items()), {})  # type: ignore[arg-type]
    return backbone.eval()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_model_has_the_hub_libraries_own_mixin() -> None:
    assert issubclass(RepModel, ModelHubMixin)


def test_a_model_is_saved_with_its_card_and_read_back(tmp_path: Path) -> None:
    model = model_with_scores()
    assert model.save_pretrained(tmp_path / "rep") is None
    assert names(tmp_path / "rep") == [CARD, RECORD, EVALUATION, WEIGHTS]
    for where in (tmp_path / "rep", str(tmp_path / "rep")):
        back = RepModel.from_pretrained(where)
        same_answers(back, model)
        assert back.origin == model.origin


def test_a_card_that_is_there_is_kept(tmp_path: Path) -> None:
    tiny_model("fed").save_pretrained(tmp_path)
    (tmp_path / CARD).write_text("mine")
    tiny_model("learned").save_pretrained(tmp_path)
    assert (tmp_path / CARD).read_text() == "mine"
    assert RepModel.from_pretrained(tmp_path).config.adapter.memory == "learned"


def test_scores_that_lie_in_the_folder_go_into_the_card(tmp_path: Path) -> None:
    model = tiny_model("fed")
    save_pretrained(model, tmp_path, training={})
    (tmp_path / EVALUATION).write_bytes(model_with_scores().origin.evaluation or b"")
    model.save_pretrained(tmp_path)
    assert "| REP fed | `acoustic` | 0.875 |" in (tmp_path / CARD).read_text()


def test_a_file_in_place_of_the_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file"):
        tiny_model("fed").save_pretrained(tmp_path / "file")


def test_an_adapter_is_saved_alone_and_applied_to_a_backbone(tmp_path: Path) -> None:
    model = model_with_scores()
    model.save_adapter(tmp_path / "adapter")
    assert names(tmp_path / "adapter") == [CARD, ADAPTER, RECORD, EVALUATION]
    back = backbone_of(model).with_adapter(tmp_path / "adapter")
    same_answers(back, model)
    assert back.origin == model.origin


class Sent:
    """Stands for HfApi where it writes: notes what would be sent and keeps a copy of it."""

    def __init__(self, patch: pytest.MonkeyPatch, kept: Path) -> None:
        self.kept, self.created, self.commit = kept, {}, {}  # type: ignore[var-annotated]
        patch.setattr(HfApi, "create_repo", lambda _, **options: self.create(**options))
        patch.setattr(HfApi, "upload_folder", lambda _, **options: self.upload(**options))

    def create(self, repo_id: str, **options: object) -> SimpleNamespace:
        self.created = {"repo_id": repo_id, **options}
        return SimpleNamespace(repo_id=repo_id)

    def upload(self, folder_path: Path, **options: object) -> str:
        self.commit = options
        self.kept.mkdir()
        for path in Path(folder_path).iterdir():
            (self.kept / path.name).write_bytes(path.read_bytes())
        return "https://hub/commit/1"


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Sent:
    return Sent(monkeypatch, tmp_path / "sent")


def test_what_is_sent_of_a_model(sent: Sent) -> None:
    model = model_with_scores()
    address = model.push_to_hub("me/rep", private=True, branch="next", model_card_kwargs={"license": "mit"})
    assert address == "https://hub/commit/1"
    assert sent.created["repo_id"] == "me/rep"
    assert sent.created["private"] is True
    assert (sent.commit["repo_id"], sent.commit["revision"]) == ("me/rep", "next")
    assert names(sent.kept) == [CARD, RECORD, EVALUATION, WEIGHTS]
    card = ModelCard.load(sent.kept / CARD)
    assert card.data.license == "mit"
    assert 'RepModel.from_pretrained("me/rep")' in card.text
    same_answers(RepModel.from_pretrained(sent.kept), model)


def test_what_is_sent_of_an_adapter(sent: Sent) -> None:
    model = model_with_scores()
    model.push_adapter_to_hub("me/rep-adapter", private=True)
    assert (sent.created["repo_id"], sent.created["private"]) == ("me/rep-adapter", True)
    assert names(sent.kept) == [CARD, ADAPTER, RECORD, EVALUATION]
    assert 'with_adapter("me/rep-adapter")' in (sent.kept / CARD).read_text()
    same_answers(backbone_of(model).with_adapter(sent.kept), model)


def test_saving_can_send_as_well(sent: Sent, tmp_path: Path) -> None:
    address = tiny_model("fed").save_pretrained(tmp_path / "rep", push_to_hub=True, repo_id="me/rep", private=False)
    assert address == "https://hub/commit/1"
    assert names(tmp_path / "rep") == names(sent.kept) == [CARD, RECORD, WEIGHTS]
    assert sent.created["private"] is False


def test_no_repository_is_made_for_an_adapter_that_there_is_not(sent: Sent) -> None:
    model = tiny_model("fed")
    with pytest.raises(InputError, match="has none"):
        backbone_of(model).push_adapter_to_hub("me/rep")
    assert not sent.created


class Hub(ThreadingHTTPServer):
    """Answers for one repository, me/rep, as the Hub does; `refusal` is sent instead where it is set."""

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), HubHandler)
        self.files = files
        self.refusal: tuple[int, dict[str, str]] | None = None
        self.asked: list[str] = []
        self.tokens: set[str | None] = set()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class HubHandler(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.asked.append(path)
        self.server.tokens.add(self.headers.get("authorization"))
        if self.server.refusal is not None:
            status, headers = self.server.refusal
            self.answer(status, b"{}", headers)
        elif path.startswith("/api/models/me/rep/tree/"):
            self.answer(200, json.dumps([entry(name, content) for name, content in self.server.files.items()]).encode())
        elif path.startswith("/api/models/me/rep"):
            self.answer(200, json.dumps({"id": "me/rep", "sha": COMMIT, "siblings": []}).encode())
        elif (name := path.rpartition("/")[2]) in self.server.files:
            self.answer(200, self.server.files[name], {"ETag": f'"{blob(self.server.files[name])}"'})
        else:
            self.answer(404, b"{}", {"X-Error-Code": "EntryNotFound"})

    def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        fixed = {"X-Repo-Commit": COMMIT, "Content-Length": str(len(body)), "Content-Type": "application/json"}
        for name, value in {**fixed, **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


def entry(name: str, content: bytes) -> dict[str, object]:
    return {"type": "file", "path": name, "size": len(content), "oid": blob(content)}


def blob(content: bytes) -> str:
    """Git's hash of a file."""
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    model_with_scores().save_pretrained(tmp_path / "rep")
    server = Hub({**files_of(tmp_path / "rep"), "pytorch_model.bin": b"never asked for"})
    Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    monkeypatch.setattr(constants, "ENDPOINT", server.address)
    files = server.address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", files)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    close_session()
    yield server
    close_session()
    server.shutdown()
    server.server_close()


def test_a_model_is_fetched_once_and_then_needs_no_hub(hub: Hub, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    model = RepModel.from_pretrained("me/rep", cache_dir=cache, revision="next", token="hf_secret")
    same_answers(model, model_with_scores())
    assert model.origin == model_with_scores().origin
    assert any("/revision/next" in path for path in hub.asked)
    assert "Bearer hf_secret" in hub.tokens
    hub.asked.clear()
    same_answers(RepModel.from_pretrained("me/rep", cache_dir=cache, revision="next", local_files_only=True), model)
    assert not hub.asked


def test_nothing_but_the_models_own_files_is_fetched(hub: Hub, tmp_path: Path) -> None:
    folder = fetch("me/rep", (WEIGHTS, RECORD), Access(cache_dir=tmp_path / "cache"))
    assert names(folder) == [RECORD, WEIGHTS]
    RepModel.from_pretrained("me/rep", cache_dir=tmp_path / "other")
    assert not any(path.endswith((".bin", ".md")) for path in hub.asked)


def test_an_adapter_is_fetched(hub: Hub, tmp_path: Path) -> None:
    model = model_with_scores()
    model.save_adapter(tmp_path / "adapter")
    hub.files = files_of(tmp_path / "adapter")
    same_answers(backbone_of(model).with_adapter("me/rep", cache_dir=tmp_path / "cache"), model)
    with pytest.raises(InputError, match="adapter alone"):
        RepModel.from_pretrained("me/rep", cache_dir=tmp_path / "cache")


def refused(where: str | Path, *words: str, **options: Any) -> None:
    with pytest.raises(InputError) as error:
        RepModel.from_pretrained(where, **options)
    line = str(error.value)
    assert "\n" not in line
    for word in (str(Path(where)), *words):
        assert word in line


@pytest.mark.parametrize("name", [WEIGHTS, RECORD])
def test_a_repository_without_a_file(name: str, hub: Hub, tmp_path: Path) -> None:
    del hub.files[name]
    with pytest.raises(InputError, match=f"{name}: cannot be read .*; the checkpoint is not complete"):
        RepModel.from_pretrained("me/rep", cache_dir=tmp_path / "cache")


@pytest.mark.parametrize(
    ("status", "headers", "words"),
    [
        (404, {"X-Error-Code": "RepoNotFound"}, ("no such repository", "hf auth login")),
        (401, {}, ("the Hub refuses", "hf auth login")),
        (403, {"X-Error-Code": "GatedRepo"}, ("its owner lets in", "hf auth login")),
        (404, {"X-Error-Code": "RevisionNotFound"}, ("no such revision",)),
    ],
)
def test_what_the_hub_does_not_give(
    status: int, headers: dict[str, str], words: tuple[str, ...], hub: Hub, tmp_path: Path
) -> None:
    hub.refusal = status, headers
    refused("me/rep", *words, cache_dir=tmp_path / "cache")


def test_no_network(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Port 9, discard: nothing listens there.
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    refused("me/rep", "cannot be reached", cache_dir=tmp_path / "cache")
    with pytest.raises(InputError, match=r"me/rep: the Hub cannot be reached \(.*\); connect to the network") as error:
        tiny_model("fed").push_to_hub("me/rep", token="hf_secret")
    assert "hf_secret" not in str(error.value)


def test_not_in_the_cache_and_not_asked_for(hub: Hub, tmp_path: Path) -> None:
    refused("me/rep", "not whole in the cache", cache_dir=tmp_path / "cache", local_files_only=True)
    assert not hub.asked


def test_a_repository_that_may_not_be_written(hub: Hub) -> None:
    hub.refusal = 403, {"X-Error-Message": "You don't have the rights to create a model under the namespace you."}
    with pytest.raises(InputError, match=r"you/rep: the Hub refuses \(.*rights.*\)") as error:
        tiny_model("fed").push_to_hub("you/rep", token="hf_secret")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("where", ["./nowhere", "/no/where", "a/b/c", "a b"])
def test_a_path_is_never_asked_of_the_hub(where: str, hub: Hub) -> None:
    refused(where, "no such folder")
    refused(Path("me/rep"), "no such folder")
    assert not hub.asked


def test_a_name_that_is_none_is_not_sent(hub: Hub) -> None:
    with pytest.raises(InputError, match="is no name of a repository"):
        tiny_model("fed").push_to_hub("a/b/c")
    assert not hub.asked


def test_a_pickle_in_place_of_weights_is_refused(hub: Hub, tmp_path: Path) -> None:
    hub.files[WEIGHTS] = b"\x80\x04cos\nsystem\n"
    with pytest.raises(InputError, match="is truncated or damaged"):
        RepModel.from_pretrained("me/rep", cache_dir=tmp_path / "cache")
