"""A camera's sound for tests: RTSP 1.0 over TCP, one client, 16-bit samples in interleaved RTP."""

from __future__ import annotations

import socket
import struct
import threading
import time
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

PACKET = 160


class RtspServer:
    """with RtspServer(samples, 8000) as server: ... server.port

    samples: whole numbers [n], sent as fast as they are played; then the connection stays open and silent, or is closed
    where `ends`. status: what DESCRIBE is answered. seen: the methods that clients used.
    """

    def __init__(
        self,
        samples: NDArray[np.int16],
        rate_hz: int,
        *,
        ends: bool = True,
        status: str = "200 OK",
        media: str = "audio",
    ) -> None:
        self._samples, self._rate_hz, self._ends, self._status, self._media = samples, rate_hz, ends, status, media
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.seen: list[str] = []
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> RtspServer:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._closed.set()
        self._listener.close()
        self._thread.join(5)

    def _serve(self) -> None:
        while not self._closed.is_set():
            try:
                self._listener.settimeout(0.1)
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            with client:
                client.settimeout(10)
                try:
                    self._talk(client)
                except OSError:
                    continue

    def _talk(self, client: socket.socket) -> None:
        with client.makefile("rb") as lines:
            while request := lines.readline().decode():
                method = request.split()[0]
                headers = {}
                while line := lines.readline().decode().strip():
                    name, _, value = line.partition(":")
                    headers[name.lower()] = value.strip()
                self.seen.append(method)
                client.sendall(self._answer(method, headers).encode())
                if method == "PLAY":
                    self._play(client)
                    return

    def _answer(self, method: str, headers: dict[str, str]) -> str:
        status, extra, body = "200 OK", "", ""
        if method == "OPTIONS":
            extra = "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n"
        elif method == "DESCRIBE":
            status = self._status
            body = (
                "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=test\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n"
                f"m={self._media} 0 RTP/AVP 97\r\na=rtpmap:97 L16/{self._rate_hz}/1\r\na=control:track0\r\n"
            )
            extra = f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n"
        elif method == "SETUP":
            extra = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n"
        return f"RTSP/1.0 {status}\r\nCSeq: {headers['cseq']}\r\n{extra}\r\n{body}"

    def _play(self, client: socket.socket) -> None:
        began = time.monotonic()
        for i in range(0, self._samples.size, PACKET):
            if self._closed.wait(max(0.0, began + i / self._rate_hz - time.monotonic())):
                return
            payload = self._samples[i : i + PACKET].astype(">i2").tobytes()
            packet = struct.pack(">BBHII", 0x80, 97, i // PACKET & 0xFFFF, i, 1) + payload
            client.sendall(struct.pack(">BBH", 0x24, 0, len(packet)) + packet)
        if not self._ends:
            self._closed.wait(60)
