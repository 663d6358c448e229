"""The memory that a configuration names."""

from __future__ import annotations

from rep_edge.adapter.cache import Cache
from rep_edge.adapter.fed import FedMemory
from rep_edge.adapter.learned import LearnedMemory
from rep_edge.adapter.memory import Encoders, HeadOnly, Memory
from rep_edge.adapter.prompts import PromptMemory
from rep_edge.config import AdapterConfig
from rep_edge.errors import InputError
from rep_edge.signals import WindowSpec


def build_memory(encoders: Encoders, spec: WindowSpec, config: AdapterConfig) -> Memory:
    """Raises InputError where slots, depth or cache do not fit the memory or the encoders."""
    steps = min(encoder.steps for encoder in encoders.values())
    if list(config.cache) != sorted(set(config.cache) & set(range(steps))):
        raise InputError(f"adapter: cache must name blocks out of 0 to {steps - 1} in rising order, not {config.cache}")
    memory = _without_caches(encoders, spec, config, steps)
    if config.cache:
        memory.caches.update({name: Cache(encoder, config.cache) for name, encoder in encoders.items()})
    return memory


def _without_caches(encoders: Encoders, spec: WindowSpec, config: AdapterConfig, steps: int) -> Memory:
    if config.memory == "none":
        return HeadOnly(spec.names, config.zero_missing)
    if config.first < 0 or config.depth < 1 or config.first + config.depth > steps:
        raise InputError(
            f"adapter: {config.depth} blocks with replay from block {config.first} do not fit the encoder's {steps} "
            "blocks; lower depth or first"
        )
    if config.slots < 6 or config.slots % 6:
        raise InputError(f"adapter: slots must be a multiple of 6 (halves and thirds), not {config.slots}")
    if config.memory == "prompts":
        return PromptMemory(encoders, spec, config)
    if not (config.private_buffer or config.shared_buffer):
        raise InputError("adapter: private_buffer and shared_buffer are both off; memory: none is the head alone")
    return FedMemory(encoders, spec, config) if config.memory == "fed" else LearnedMemory(encoders, spec, config)
