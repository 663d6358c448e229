"""REP in plain numpy, written from the paper's equations 5 to 11 and the project's table of the released code.

One function per equation, then one whole pass for each memory. Arrays are float64; d is the width of a modality at a
block, d_s that of the shared buffer, S the slots of one part (half of L with `fed`, a third with `learned`). Names that
index dictionaries are modalities; lists run over the blocks that replay.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import erf

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Map = Callable[[Array], Array]


def layer_norm(rows: Array, weight: Array | float = 1.0, bias: Array | float = 0.0) -> Array:
    """Zero mean, unit variance along the last axis."""
    mean = rows.mean(-1, keepdims=True)
    variance = ((rows - mean) ** 2).mean(-1, keepdims=True)
    normed: Array = (rows - mean) / np.sqrt(variance + 1e-5) * weight + bias
    return normed


def gelu(rows: Array) -> Array:
    """x Phi(x) with the exact normal distribution."""
    return np.asarray(0.5 * rows * (1.0 + np.vectorize(erf)(rows / np.sqrt(2.0))))


def sigmoid(x: Array | float) -> Array:
    return np.asarray(1.0 / (1.0 + np.exp(-np.asarray(x, dtype=np.float64))))


def softmax(rows: Array) -> Array:
    raised = np.exp(rows - rows.max(-1, keepdims=True))
    return np.asarray(raised / raised.sum(-1, keepdims=True))


def pooled_rows(tokens: Array, rows: int) -> Array:
    """[B, N, d] to [B, rows, d]: row i is the mean of tokens floor(i N / rows) to ceil((i + 1) N / rows)."""
    n = tokens.shape[1]
    edges = [(i * n // rows, -(-(i + 1) * n // rows)) for i in range(rows)]
    return np.stack([tokens[:, a:b].mean(1) for a, b in edges], axis=1)


def embedding_with_slots(shared: Array, private: Array, tokens: Array) -> Array:
    """Eq. 5: [Theta_m(F_s), F_p^m, E_m] along the sequence."""
    return np.concatenate([shared, private, tokens], axis=1)


def squared_cosine(a: Array, b: Array) -> float:
    """Eq. 6, one term, in its bounded form: squared cosine of the rows, averaged over slots and windows."""
    dot = (a * b).sum(-1)
    return float((dot**2 / ((a * a).sum(-1) * (b * b).sum(-1))).mean())


def orthogonality(shared: Array, private: Sequence[Array]) -> float:
    """Eq. 6 at one update: the shared buffer against each private one, and every pair of private ones."""
    loss = sum(squared_cosine(shared, rows) for rows in private)
    return loss + sum(squared_cosine(a, b) for a, b in combinations(private, 2))


def private_update(alpha: float, new: Array, old: Array) -> Array:
    """Eq. 7: alpha G_m(Z) + (1 - alpha) F_p^m[k - 1]."""
    return alpha * new + (1.0 - alpha) * old


def shared_update(epsilon: float, new: Array, old: Array) -> Array:
    """Eq. 8: epsilon H(C({F_p^m[k]})) + (1 - epsilon) F_s[k - 1]."""
    return epsilon * new + (1.0 - epsilon) * old


def replay(slots: Array, beta: float, buffer: Array) -> Array:
    """Eq. 9 at one half of the slots."""
    return slots + beta * buffer


def private_start(tokens: Array, slots: int, noise: Array | float = 0.0) -> Array:
    """Eq. 10: pooled rows of the layer-normed embedding, plus noise."""
    return pooled_rows(layer_norm(tokens), slots) + noise


def shared_start(xi: Array) -> Array:
    """Eq. 11: rows of unit length."""
    return np.asarray(xi / np.linalg.norm(xi, axis=-1, keepdims=True))


@dataclass(frozen=True)
class Tower:
    """A backbone of one modality: `steps` blocks; `advance` and `widen` come before each."""

    steps: int
    embed: Map
    advance: Callable[[int, Array, int], Array]
    widen: Callable[[int, Array], Array]
    step: Callable[[int, Array], Array]
    pool: Map


@dataclass(frozen=True)
class FedParameters:
    """What `fed` learns. start [S, d_s]; per modality and block: theta (d_s to d), z (the norm of eq. 7), g (d to d);
    per block: h (sum of d to d_s). comparable (d to d_s) brings private buffers of different widths before eq. 6."""

    start: Array
    theta: Mapping[str, Sequence[Map]]
    comparable: Mapping[str, Sequence[Map]]
    z: Mapping[str, Sequence[Map]]
    g: Mapping[str, Sequence[Map]]
    h: Sequence[Map]
    alpha: Mapping[str, float]
    epsilon: float
    beta_private: Mapping[str, float]
    beta_shared: Mapping[str, float]


@dataclass(frozen=True)
class Result:
    """Pooled features [B, f] by modality; buffers after the last update; sum of eq. 6 over the updates."""

    feature: dict[str, Array]
    private: dict[str, Array]
    shared: Array | None
    orthogonality: float


def fed_pass(
    towers: Mapping[str, Tower], windows: Mapping[str, Array], p: FedParameters, first: int, depth: int
) -> Result:
    """The paper's pass. `windows` holds every modality, a missing one by its placeholder; `p.start` [S, d_s]."""
    names = list(towers)
    steps = towers[names[0]].steps
    batch = len(windows[names[0]])
    half = p.start.shape[0]
    rows = {m: towers[m].embed(windows[m]) for m in names}
    shared = np.broadcast_to(p.start, (batch, *p.start.shape))
    private: dict[str, Array] = {}
    loss = 0.0
    for k in range(steps):
        lead = 0 if k <= first else 2 * half
        rows = {m: towers[m].advance(k, rows[m], lead) for m in names}
        j = k - first
        live = 0 <= j < depth
        if live:
            private = {m: towers[m].widen(k, private[m]) for m in private}
        if j == 0:
            private = {m: private_start(rows[m], half) for m in names}
            rows = {
                m: embedding_with_slots(np.zeros_like(private[m]), np.zeros_like(private[m]), rows[m]) for m in names
            }
        if live:
            rows = {
                m: embedding_with_slots(
                    replay(rows[m][:, :half], p.beta_shared[m], p.theta[m][j](shared)),
                    replay(rows[m][:, half : 2 * half], p.beta_private[m], private[m]),
                    rows[m][:, 2 * half :],
                )
                for m in names
            }
        rows = {m: towers[m].step(k, rows[m]) for m in names}
        if live:
            z = {m: p.z[m][j](rows[m][:, half : 2 * half]) for m in names}
            private = {m: private_update(p.alpha[m], p.g[m][j](z[m]), private[m]) for m in names}
            together = np.concatenate([private[m] for m in names], axis=-1)
            shared = shared_update(p.epsilon, p.h[j](together), shared)
            loss += orthogonality(shared, [p.comparable[m][j](private[m]) for m in names])
    feature = {m: towers[m].pool(rows[m][:, 2 * half :]) for m in names}
    return Result(feature, private, shared, loss)


def residual_map(rows: Array, first: Map, norm: Map, second: Map, skip: Map) -> Array:
    """The released code's R: Linear, LayerNorm, GELU, (dropout,) Linear, plus a linear skip."""
    return second(gelu(norm(first(rows)))) + skip(rows)


def attend(queries: Array, tokens: Array, q: Map, k: Map, v: Map, out: Map) -> Array:
    """One-head attention of rows [S, d] over tokens [B, N, d]: [B, S, d]."""
    keys = k(tokens)
    weights = softmax(q(queries) @ keys.transpose(0, 2, 1) / np.sqrt(keys.shape[-1]))
    return out(weights @ v(tokens))


def staged_buffers(
    start: Mapping[str, Array],
    norms: Sequence[Map],
    maps: Mapping[str, Sequence[Map]],
    widen: Mapping[str, Callable[[int, Array], Array]],
    mix: float,
) -> dict[str, list[Array]]:
    """Private buffers of every replaying block from the buffers alone.

    The first stage is R(LN(concatenation of the starts)). Each later one widens the previous buffers where the towers
    widen, then mixes R(LN(their concatenation)) with them. `widen[m]` counts from the first replaying block.
    """
    stages: dict[str, list[Array]] = {m: [] for m in start}
    before = dict(start)
    for j, norm in enumerate(norms):
        if j:
            before = {m: widen[m](j, before[m]) for m in start}
        together = norm(np.concatenate([before[m] for m in start], axis=-1))
        for m in start:
            new = maps[m][j](together)
            stages[m].append(new if j == 0 else mix * new + (1.0 - mix) * before[m])
        before = {m: stages[m][-1] for m in start}
    return stages


@dataclass(frozen=True)
class LearnedParameters:
    """What `learned` holds for one pattern. Per modality: the staged private buffers, the shared third as it enters
    the tower [S, d], and the map from embedded tokens [B, N, d] to the dynamic third [B, S, d]."""

    stages: Mapping[str, Sequence[Array]]
    shared: Mapping[str, Array]
    dynamic: Mapping[str, Map]


def learned_pass(
    towers: Mapping[str, Tower], windows: Mapping[str, Array], p: LearnedParameters, first: int, depth: int
) -> dict[str, tuple[Array, Array]]:
    """The released code's pass: pooled feature [B, f] and the slots after the last block [B, L, d] of each tower.

    Order of the slots: private, shared, dynamic. At a replaying block the private third is replaced by the buffer of
    that block; the others enter at block `first` and are carried.
    """
    out: dict[str, tuple[Array, Array]] = {}
    for m, tower in towers.items():
        rows = tower.embed(windows[m])
        batch, third = len(rows), len(p.shared[m])
        for k in range(tower.steps):
            rows = tower.advance(k, rows, 0 if k <= first else 3 * third)
            j = k - first
            if 0 <= j < depth:
                stage = np.broadcast_to(p.stages[m][j], (batch, *p.stages[m][j].shape))
                if j == 0:
                    shared = np.broadcast_to(p.shared[m], (batch, *p.shared[m].shape))
                    rows = np.concatenate([stage, shared, p.dynamic[m](rows), rows], axis=1)
                else:
                    rows = np.concatenate([stage, rows[:, third:]], axis=1)
            rows = tower.step(k, rows)
        out[m] = (tower.pool(rows[:, 3 * third :]), rows[:, : 3 * third])
    return out


def causal_learned_pass(
    tower: Tower, window: Array, stages: Sequence[Array], shared: Array, dynamic: Map, first: int
) -> tuple[Array, Array]:
    """The same where slots in front hear no token: private and shared rows step alone, and the dynamic third, which
    looks at the tokens, steps with them behind those rows. Returns the feature and the slots [B, L, d] in the end."""
    rows, third = tower.embed(window), len(shared)
    for k in range(first):
        rows = tower.step(k, tower.advance(k, rows, 0))
    rows = tower.advance(first, rows, 0)
    rows = np.concatenate([dynamic(rows), rows], axis=1)
    ahead = np.concatenate([stages[0], shared])[None]
    for k in range(first, tower.steps):
        if k > first:
            rows, ahead = tower.advance(k, rows, third), tower.widen(k, ahead)
        if 0 < k - first < len(stages):
            ahead[:, :third] = stages[k - first]
        repeated = np.broadcast_to(ahead, (len(rows), *ahead.shape[1:]))
        rows = tower.step(k, np.concatenate([repeated, rows], axis=1))[:, 2 * third :]
        ahead = tower.step(k, ahead)
    repeated = np.broadcast_to(ahead, (len(rows), *ahead.shape[1:]))
    return tower.pool(rows[:, third:]), np.concatenate([repeated, rows[:, :third]], axis=1)


def prompted_pass(tower: Tower, window: Array, prompts: Sequence[Array], first: int) -> Array:
    """MAP at REP's places: fresh rows [L, d] in front of every prompted block, dropped behind it; feature [B, f]."""
    rows = tower.embed(window)
    for k in range(tower.steps):
        rows = tower.advance(k, rows, 0)
        prompted = 0 <= k - first < len(prompts)
        fresh = prompts[k - first] if prompted else np.zeros((0, rows.shape[-1]))
        together = np.concatenate([np.broadcast_to(fresh, (len(rows), *fresh.shape)), rows], axis=1)
        rows = tower.step(k, together)[:, len(fresh) :]
    return tower.pool(rows)
