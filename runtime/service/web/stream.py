"""What changes, as it changes: server-sent events for every page that is open."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Iterator
from typing import NamedTuple

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Send

from rep_edge.runtime.service.web.columns import Columns, columns
from rep_edge.runtime.service.web.view import View

TICK_S = 0.5
"""Seconds between two looks at the service."""
SILENCE_S = 5.0
"""The status is told at least this often, in s, so that a page knows that it still listens."""
SEND_S = 10.0
"""A page that takes nothing for so long, in s, is given up."""
MOST_CLIENTS = 16

COLUMN_S = 0.05
"""Width of a column of the page's drawings, in s."""
HISTORY_S = 30.0
"""How far back a drawing goes, in s."""
LATEST_VERDICTS = 20


class StreamColumns(msgspec.Struct, frozen=True, kw_only=True):
    """New columns of one stream of the node that the page shows."""

    stream: str
    columns: Columns


class Shown(NamedTuple):
    """How far a page has a stream. next: number of the column that it lacks; end_s: its begin in s since 1970."""

    next: int | None
    end_s: float


class News:
    """What one page has not been told yet."""

    def __init__(self, view: View, node: str | None) -> None:
        self._view, self._node = view, node
        self._told: object = None
        self._told_s = 0.0
        self._verdict_s = 0.0
        self._shown: dict[str, Shown] = {}

    def take(self) -> list[bytes]:
        """Messages: `status`, and of the page's node `verdicts` and `columns`."""
        return list(self._messages())

    def _messages(self) -> Iterator[bytes]:
        status = self._view.status()
        timeless = msgspec.structs.replace(status, now_s=0.0)
        if timeless != self._told or time.monotonic() - self._told_s > SILENCE_S:
            self._told, self._told_s = timeless, time.monotonic()
            yield message("status", status)
        for node in status.nodes:
            if node.name == self._node:
                yield from self._verdicts(node.name)
                for stream in node.streams:
                    yield from self._columns(node.name, stream.name, status.now_s)

    def _verdicts(self, node: str) -> Iterator[bytes]:
        fresh = [v for v in self._view.verdicts(node, LATEST_VERDICTS) if v.end_s > self._verdict_s]
        if fresh:
            self._verdict_s = fresh[-1].end_s
            yield message("verdicts", fresh)

    def _columns(self, node: str, stream: str, now_s: float) -> Iterator[bytes]:
        """Columns since the last ones. One more second, so that the first spectrum has a whole frame."""
        shown = self._shown.get(stream, Shown(None, 0.0))
        waveform = self._view.waveform(node, stream, min(now_s - shown.end_s, HISTORY_S) + 1.5)
        if waveform is None:
            return
        drawn = columns(waveform, COLUMN_S, shown.next)
        if drawn.low:
            behind = drawn.first + len(drawn.low)
            self._shown[stream] = Shown(behind, behind * drawn.column_s)
            yield message("columns", StreamColumns(stream=stream, columns=drawn))


def message(event: str, content: object) -> bytes:
    """One server-sent event; JSON has no line ends."""
    return b"event: %s\ndata: %s\n\n" % (event.encode(), msgspec.json.encode(content))


class Streams:
    """GET /api/stream?node=yard. closing: set it, and all end within a tick; listening: how many are open."""

    def __init__(self, view: View) -> None:
        self.closing = threading.Event()
        self.listening = 0
        self._view = view

    async def open(self, request: Request) -> Response:
        """A stream that ends when the page goes away or the service does; 503 where too many are open."""
        node = request.query_params.get("node")
        known = {known.name for known in (await run_in_threadpool(self._view.status)).nodes}
        if node is not None and node not in known:
            raise HTTPException(404, "no such node")
        if self.listening >= MOST_CLIENTS or self.closing.is_set():
            raise HTTPException(503, f"{MOST_CLIENTS} pages listen already; close one", {"retry-after": "5"})
        return _Patient(self._listen(node))

    async def _listen(self, node: str | None) -> AsyncGenerator[bytes, None]:
        self.listening += 1
        try:
            yield b"retry: 1000\n\n"
            news = News(self._view, node)
            while not self.closing.is_set():
                yield b"".join(await run_in_threadpool(news.take)) or b": nothing new\n\n"
                await asyncio.sleep(TICK_S)
        finally:
            self.listening -= 1


class _Patient(StreamingResponse):
    """A response whose reader is given up when it takes nothing for `SEND_S`: it went away without a word."""

    def __init__(self, messages: AsyncGenerator[bytes, None]) -> None:
        super().__init__(messages, media_type="text/event-stream", headers={"cache-control": "no-store"})
        self._messages = messages

    async def stream_response(self, send: Send) -> None:
        """Send what the generator gives, and close it whatever happens."""

        async def soon(message: Message) -> None:
            await asyncio.wait_for(send(message), SEND_S)

        try:
            await super().stream_response(soon)
        except asyncio.TimeoutError:
            pass
        finally:
            await self._messages.aclose()
