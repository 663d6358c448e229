"""What the page may look at: the service's parts, read from the web's threads and never written but for marks."""

from __future__ import annotations

import time
from pathlib import Path

from rep_edge import __version__
from rep_edge.runtime.events.event import Event, Verdict
from rep_edge.runtime.events.marks import Mark
from rep_edge.runtime.service.loop import Loop, Member
from rep_edge.runtime.service.outlets import Outlets
from rep_edge.runtime.service.reloading import Reloading
from rep_edge.runtime.service.status import ServiceStatus
from rep_edge.runtime.service.web.view import Waveform


class ServiceView:
    """The `View` of a service that may still be starting: `loop` and `reloading` are None until they are there.

    bundle: name of the folder that was named.
    """

    def __init__(self, bundle: str, outlets: Outlets) -> None:
        self.not_ready = "starting"
        self.loop: Loop | None = None
        self.reloading: Reloading | None = None
        self._bundle, self._outlets = bundle, outlets
        self._started_s = time.time()

    def status(self) -> ServiceStatus:
        loop, reloading = self.loop, self.reloading
        bundle = loop.classifier.bundle if loop else None
        return ServiceStatus(
            version=__version__,
            started_s=self._started_s,
            now_s=time.time(),
            not_ready=self.not_ready,
            bundle=self._bundle,
            created=bundle.manifest.provenance.created if bundle else "",
            backend=loop.classifier.backend if loop else "",
            precision=loop.classifier.precision if loop else "",
            labels=loop.classifier.labels if loop else (),
            hop_s=loop.classifier.spec.hop_s if loop else 0.0,
            window_s=loop.classifier.spec.window_s if loop else 0.0,
            reloads=reloading.reloads if reloading else 0,
            reload_failed=reloading.failed if reloading else "",
            events_lost=loop.lost if loop else 0,
            journal_bytes=self._outlets.journal.size_bytes,
            clips_bytes=self._outlets.clips.size_bytes if self._outlets.clips else 0,
            nodes=loop.report if loop else (),
            sinks=tuple(delivery.status() for delivery in self._outlets.deliveries),
        )

    def verdicts(self, node: str, limit: int) -> list[Verdict]:
        member = self._member(node)
        return list(member.node.verdicts)[-limit:] if member else []

    def waveform(self, node: str, stream: str, seconds: float) -> Waveform | None:
        member = self._member(node)
        if member is None or stream not in member.node.rings:
            return None
        now_s = time.monotonic()
        values = member.node.rings[stream].cut(now_s - seconds, now_s)
        return Waveform(time.time() - seconds, member.node.spec.stream(stream).rate_hz, values)

    def tracks(self, limit: int, before_s: float | None) -> list[Event]:
        return self._outlets.journal.tracks(limit, before_s)

    def track(self, track: str) -> list[Event]:
        return self._outlets.journal.track(track)

    def marks(self) -> dict[str, Mark]:
        return {mark.track: mark for mark in self._outlets.journal.marks()}

    def mark(self, mark: Mark) -> None:
        self._outlets.journal.mark(mark)

    def clip_file(self, track: str, name: str) -> Path | None:
        return self._outlets.clips.path(track, name) if self._outlets.clips else None

    def _member(self, node: str) -> Member | None:
        members = self.loop.members if self.loop else ()
        return next((member for member in members if member.node.name == node), None)
