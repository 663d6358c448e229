"""How events reach an MQTT broker: what the configuration says of it."""

from __future__ import annotations

from pathlib import Path

import msgspec


class MqttSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The broker, and what it is told.

    host, port: where it listens; with TLS that is usually port 8883.
    username, password_env: who we are; the environment variable that holds the password.
    tls: whether the connection is encrypted, and the broker shows a certificate.
    ca_file: a PEM file with the authority that signed it, where this machine does not know it; a relative path starts
    at the configuration file's folder.
    prefix: first part of all topics; services with nodes of the same name need different ones.
    home_assistant: whether Home Assistant is told which devices and entities there are.
    discovery_prefix: first part of the topics in which it looks for them.
    """

    host: str
    port: int = 1883
    username: str | None = None
    password_env: str | None = None
    tls: bool = False
    ca_file: Path | None = None
    prefix: str = "rep-edge"
    home_assistant: bool = True
    discovery_prefix: str = "homeassistant"

    def __post_init__(self) -> None:
        if not _is_host(self.host):
            raise ValueError(f'host: must be a name or an address, such as "broker.local", not {self.host!r}')
        if not 1 <= self.port <= 65535:
            raise ValueError(f"port: must be 1 to 65535, not {self.port}")
        if self.password_env is not None and self.username is None:
            raise ValueError("password_env: needs username too")
        if self.ca_file is not None and not self.tls:
            raise ValueError("ca_file: needs tls: true too")
        for name in ("prefix", "discovery_prefix"):
            levels = getattr(self, name).split("/")
            if not all(level and level.isprintable() and not set(level) & set("+#$") for level in levels):
                raise ValueError(f'{name}: must be parts of a topic joined by "/", without +, # and $')


def _is_host(host: str) -> bool:
    try:
        return bool(host) and host.isprintable() and not set(host) & set(" /@") and bool(host.encode("idna"))
    except UnicodeError:
        return False
