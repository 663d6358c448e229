"""The web server: Uvicorn in a thread of its own, which ends when it is told to."""

from __future__ import annotations

import os
import socket
import threading

import uvicorn
from starlette.applications import Starlette

from rep_edge.errors import InputError

END_S = 2
"""How long open answers may take when the server is closed, in s."""
MOST_CONNECTIONS = 64


class WebServer:
    """with WebServer(app, "127.0.0.1", 8765) as server: ...

    port: the one that is listened on, also where 0 was asked for. The signals of the process stay as they are.
    """

    def __init__(self, app: Starlette, host: str, port: int) -> None:
        self.host, self.port = host, port
        self._closing: threading.Event = app.state.streams.closing
        config = uvicorn.Config(
            app,
            log_config=None,
            log_level="error",  # Its warnings are about what clients send, as many as they like.
            access_log=False,
            server_header=False,
            lifespan="off",
            ws="none",
            limit_concurrency=MOST_CONNECTIONS,
            timeout_graceful_shutdown=END_S,
        )
        self._server = uvicorn.Server(config)
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Answer from now on. Raises InputError where the port is taken or the host is not this machine's."""
        listening = _listening(self.host, self.port)
        self.port = listening.getsockname()[1]
        self._thread = threading.Thread(target=self._server.run, args=([listening],), name="web", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End all answers, the open ones within `END_S`."""
        self._closing.set()
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(END_S + 3)

    def __enter__(self) -> WebServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _listening(host: str, port: int) -> socket.socket:
    """A socket that listens. The system answers for the server until it has started: nobody is refused."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=128)
    except OverflowError as error:
        raise InputError(f"web: port must be from 0 to 65535, not {port}") from error
    except OSError as error:
        number = error.errno or 0  # Errors of name servers have numbers below 0.
        why = os.strerror(number) if number > 0 else error.strerror
        raise InputError(f"web: {host}:{port} cannot be listened on ({why}); choose another host or port") from error
