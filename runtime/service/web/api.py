"""What the page knows, for programs: status, hops, waveforms, events and their clips, and the marks of people."""

from __future__ import annotations

import re
import time

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from rep_edge.runtime.events.event import Event
from rep_edge.runtime.events.marks import Mark
from rep_edge.runtime.service.web.columns import columns
from rep_edge.runtime.service.web.requests import body, json_response, number, require_own_page
from rep_edge.runtime.service.web.view import View

CLIP_TYPES = {
    "flac": "audio/flac",
    "mseed": "application/vnd.fdsn.mseed",
    "png": "image/png",
    "json": "application/json",
}
"""Ending of a clip's file -> its content type."""

CLIP_NAME = re.compile(rf"\w[\w-]*\.({'|'.join(CLIP_TYPES)})", re.ASCII)

MOST_NOTE = 500
"""Characters of the longest note."""


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """A track in the list: its latest event, and what a person said of it."""

    event: Event
    mark: Mark | None


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """A whole track: all its events, the oldest first, and what a person said of it."""

    events: list[Event]
    mark: Mark | None


class Said(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a person says of a track; as in a Mark."""

    right: bool
    label: str = ""
    note: str = ""


class Api:
    """The answers to GET and POST below /api."""

    def __init__(self, view: View) -> None:
        self._view = view

    def status(self, request: Request) -> Response:
        """ServiceStatus."""
        return json_response(self._view.status())

    def verdicts(self, request: Request) -> Response:
        """The latest Verdicts of a node, the newest last. limit: how many, at most."""
        node = request.path_params["node"]
        if node not in {known.name for known in self._view.status().nodes}:
            raise HTTPException(404, "no such node")
        return json_response(self._view.verdicts(node, int(number(request, "limit", 20, 1, 1000))))

    def waveform(self, request: Request) -> Response:
        """The last `seconds` of a stream as about `columns` Columns."""
        seconds, wanted = number(request, "seconds", 10, 0.1, 60), number(request, "columns", 600, 1, 2000)
        found = self._view.waveform(request.path_params["node"], request.path_params["stream"], seconds)
        if found is None:
            raise HTTPException(404, "no such stream")
        return json_response(columns(found, seconds / int(wanted)))

    def events(self, request: Request) -> Response:
        """The latest tracks, the newest onset first. before: only those that began before this time."""
        limit = int(number(request, "limit", 50, 1, 500))
        before_s = number(request, "before", 0, 0, 1e11) if "before" in request.query_params else None
        tracks, marks = self._view.tracks(limit, before_s), self._view.marks()
        return json_response([Heard(event=event, mark=marks.get(event.track)) for event in tracks])

    def track(self, request: Request) -> Response:
        """One track."""
        track = request.path_params["track"]
        return json_response(Told(events=self._events(track), mark=self._view.marks().get(track)))

    async def mark(self, request: Request) -> Response:
        """Keep what a person says of a track. Browsers send JSON of another site's page only after asking."""
        require_own_page(request)
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise HTTPException(415, "a mark is sent as application/json")
        try:
            said = msgspec.json.decode(await body(request), type=Said)
        except msgspec.DecodeError as error:
            raise HTTPException(400, f"a mark is {{right, label, note}}: {error}") from error
        if len(said.note) > MOST_NOTE:
            raise HTTPException(400, f"note: must be at most {MOST_NOTE} characters")
        return await run_in_threadpool(self._keep, request.path_params["track"], said)

    def clip(self, request: Request) -> Response:
        """A file of a track's clip."""
        track, name = request.path_params["track"], request.path_params["file"]
        kind = CLIP_NAME.fullmatch(name)
        path = self._view.clip_file(track, name) if kind else None
        if kind is None or path is None or not path.is_file():
            raise HTTPException(404, "no such clip")
        kept = "attachment" if kind[1] == "mseed" else "inline"
        return FileResponse(
            path, media_type=CLIP_TYPES[kind[1]], filename=f"{track}.{name}", content_disposition_type=kept
        )

    def _events(self, track: str) -> list[Event]:
        events = self._view.track(track)
        if not events:
            raise HTTPException(404, "no such event")
        return events

    def _keep(self, track: str, said: Said) -> Response:
        self._events(track)
        labels = self._view.status().labels
        if said.label and said.label not in labels:
            raise HTTPException(400, f"label: must be one of {', '.join(labels)}, or empty")
        mark = Mark(track=track, right=said.right, label=said.label, note=said.note, marked_s=time.time())
        self._view.mark(mark)
        return json_response(mark)
