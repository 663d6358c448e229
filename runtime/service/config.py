"""What the service is told: the sections of its configuration file, as immutable structs."""

from __future__ import annotations

import ipaddress
import math
import re
from pathlib import Path
from typing import Literal

import msgspec

from rep_edge.runtime.events.clips import ClipSettings
from rep_edge.runtime.events.track_settings import TrackSettings
from rep_edge.runtime.health import HealthLimits
from rep_edge.runtime.sinks.journal import JournalSettings
from rep_edge.runtime.sinks.settings import SinksSettings
from rep_edge.runtime.windows import StreamSettings

NODE_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
"""Node names become parts of topics, folders and addresses."""


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the sections: immutable, named keys, unknown ones refused."""


class StreamConfig(Section, frozen=True, kw_only=True):
    """One sensor.

    source: its address, such as "mic:"; ${NAME} stands for the environment variable NAME.
    delay_s: how long the sensor's samples are under way, in s; taken from their times.
    """

    source: str
    delay_s: float = 0.0

    def __post_init__(self) -> None:
        if not self.source:
            raise ValueError('source: must be an address, such as "mic:"')
        if not math.isfinite(self.delay_s):
            raise ValueError(f"delay_s: must be a time in s, not {self.delay_s}")


class NodeConfig(Section, frozen=True, kw_only=True):
    """Sensors that stand together and are heard together.

    name: of lower-case letters, digits and "-"; part of every event.
    streams: modality of the bundle to its sensor; one that is not named is missing from the start.
    """

    name: str
    streams: dict[str, StreamConfig]

    def __post_init__(self) -> None:
        if not NODE_NAME.fullmatch(self.name):
            raise ValueError(f'name: must be lower-case letters, digits and "-", such as "yard", not {self.name!r}')
        if not self.streams:
            raise ValueError("streams: must name at least one sensor")


class WebSettings(Section, frozen=True, kw_only=True):
    """The page, its data and the metrics.

    enabled: false for no page at all.
    host, port: where it listens; on any other host than this machine's loopback, token_env must be given.
    token_env: the environment variable that holds the token which a visitor needs; none by default.
    """

    enabled: bool = True
    host: str = "127.0.0.1"
    port: int = 8765
    token_env: str | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.port <= 65535:
            raise ValueError(f"port: must be 1 to 65535, not {self.port}")
        if self.enabled and self.token_env is None and not is_loopback(self.host):
            raise ValueError(f"host: {self.host} can be reached from outside, which needs token_env; or take 127.0.0.1")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class LogSettings(Section, frozen=True, kw_only=True):
    """What the service says of its work, on standard error and in state_dir/service.log.

    level: the least important lines that are kept.
    format: of standard error: text for people, json for a log collector. The file always holds JSON lines.
    """

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


class ServiceConfig(Section, frozen=True, kw_only=True):
    """All that `rep-edge serve` is told. Relative paths start at the configuration file's folder.

    bundle: the folder that `rep-edge export` wrote.
    nodes: the sensor nodes.
    state_dir: the folder of journal, clips and logs; "state" where none is named.
    backend, precision: what runs the graphs; "auto" takes the best that starts here.
    timing: how streams are cut into windows.
    health: when a stream is believed.
    events: when a class that is heard becomes a track.
    clips: what is recorded of a track.
    journal: how much is remembered.
    sinks: who is told.
    web: the page.
    logs: what the service says of its work.
    """

    bundle: Path
    nodes: tuple[NodeConfig, ...]
    state_dir: Path = msgspec.field(default_factory=lambda: Path("state"))
    backend: str = "auto"
    precision: str = "auto"
    timing: StreamSettings = StreamSettings()
    health: HealthLimits = HealthLimits()
    events: TrackSettings = TrackSettings()
    clips: ClipSettings = ClipSettings()
    journal: JournalSettings = JournalSettings()
    sinks: SinksSettings = SinksSettings()
    web: WebSettings = WebSettings()
    logs: LogSettings = LogSettings()

    def __post_init__(self) -> None:
        if not self.nodes:
            raise ValueError("nodes: must hold at least one node")
        names = [node.name for node in self.nodes]
        for i, name in enumerate(names):
            if name in names[:i]:
                raise ValueError(f"nodes[{i}].name: {name} is the name of nodes[{names.index(name)}] too")
