"""The seven classes as ranges of physical parameters; each run draws one value from each range."""

from __future__ import annotations

from typing import NamedTuple

Range = tuple[float, float]


class Engine(NamedTuple):
    """A four-stroke engine.

    firing: crank angles of the firings in cycles (0 to 1, one cycle = two revolutions).
    rpm: the part that speed does not change; rpm_per_speed: rpm per m/s in the gear driven, added to it.
    imbalance: spread of the cylinders' strengths, which makes the half orders; level_db: source level at 1 m.
    pipe_m: length of the exhaust pipe (quarter-wave resonances); muffler_hz: corner of the muffler's low-pass.
    shake: inertia forces of crank orders 0.5, 1, 1.5, 2 on the ground, relative to a rolling force of 1.
    """

    firing: tuple[float, ...]
    rpm: Range
    rpm_per_speed: Range
    imbalance: Range
    level_db: Range
    pipe_m: Range
    muffler_hz: Range
    shake: tuple[float, float, float, float]


class Vehicle(NamedTuple):
    """What makes one class.

    speed: m/s. clearance: distance of the course's nearest point from the sensors in m.
    engine: or None. whine_orders: tone orders of the electric drive per wheel revolution, or (); whine_db: their level.
    tyre_db: rolling noise at 10 m/s; tyre_hz: centre of its spectrum. lug_m: pitch of treads or track shoes; lug_db:
    their sound; lug_force: their force on the ground.
    wheelbase_m: axle distance (0: one axle counts, as a walker has none). hop_hz: wheel hop; hop_q: its resonance.
    bounce_hz: body bounce; bounce_depth: how far the bounce modulates the rolling force.
    mass: force on the ground relative to a car. steps: footsteps instead of wheels.
    """

    speed: Range
    clearance: Range
    engine: Engine | None = None
    whine_orders: tuple[float, ...] = ()
    whine_db: Range = (0.0, 0.0)
    tyre_db: Range = (60.0, 66.0)
    tyre_hz: Range = (350.0, 1100.0)
    lug_m: Range = (0.0, 0.0)
    lug_db: Range = (0.0, 0.0)
    lug_force: Range = (0.0, 0.0)
    wheelbase_m: Range = (0.0, 0.0)
    hop_hz: Range = (10.0, 12.0)
    hop_q: Range = (2.0, 4.0)
    bounce_hz: Range = (1.0, 1.6)
    bounce_depth: Range = (0.2, 0.5)
    mass: Range = (0.8, 1.2)
    steps: bool = False


_V8 = (0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875)

CLASSES: dict[str, Vehicle] = {
    "Polaris": Vehicle(
        speed=(4.0, 9.0),
        clearance=(4.0, 15.0),
        engine=Engine(
            (0.0, 0.5), (1800, 3600), (60, 180), (0.05, 0.3), (68, 78), (0.6, 1.6), (400, 1400), (0.1, 0.9, 0.1, 0.5)
        ),
        tyre_db=(58, 66),
        lug_m=(0.055, 0.085),
        lug_db=(52, 60),
        lug_force=(0.05, 0.2),
        wheelbase_m=(2.0, 2.3),
        hop_hz=(7.0, 12.0),
        bounce_hz=(1.2, 2.0),
        bounce_depth=(0.4, 0.9),
        mass=(0.5, 0.9),
    ),
    "Warhog": Vehicle(
        speed=(1.8, 4.0),
        clearance=(3.0, 13.0),
        whine_orders=(38.0, 76.0, 114.0),
        whine_db=(52, 62),
        tyre_db=(54, 62),
        lug_m=(0.09, 0.14),
        lug_db=(60, 68),
        lug_force=(0.6, 1.6),
        wheelbase_m=(1.0, 1.4),
        hop_hz=(9.0, 16.0),
        hop_q=(1.0, 2.0),
        bounce_hz=(1.6, 2.4),
        bounce_depth=(0.3, 0.7),
        mass=(0.6, 1.0),
    ),
    "Truck": Vehicle(
        speed=(5.0, 11.0),
        clearance=(5.0, 18.0),
        engine=Engine(
            _V8, (750, 1100), (70, 160), (0.02, 0.15), (66, 76), (1.8, 3.8), (300, 900), (0.1, 0.6, 0.1, 0.8)
        ),
        tyre_db=(60, 68),
        wheelbase_m=(3.4, 3.9),
        hop_hz=(7.5, 10.5),
        hop_q=(3.0, 6.0),
        bounce_hz=(1.2, 1.9),
        mass=(1.3, 2.0),
    ),
    "motor": Vehicle(
        speed=(5.0, 12.0),
        clearance=(3.5, 15.0),
        engine=Engine(
            (0.0, 0.43), (1800, 3400), (80, 200), (0.15, 0.5), (68, 78), (0.6, 1.6), (500, 1600), (0.9, 1.0, 0.4, 0.3)
        ),
        tyre_db=(54, 62),
        wheelbase_m=(1.35, 1.5),
        hop_hz=(9.0, 16.0),
        bounce_hz=(1.8, 2.6),
        mass=(0.25, 0.5),
    ),
    "tesla": Vehicle(
        speed=(5.0, 12.0),
        clearance=(4.0, 16.0),
        whine_orders=(54.0, 108.0, 162.0),
        whine_db=(46, 56),
        tyre_db=(60, 68),
        wheelbase_m=(2.8, 3.0),
        hop_hz=(10.5, 15.0),
        bounce_hz=(1.1, 1.6),
        mass=(1.0, 1.3),
    ),
    "mustang": Vehicle(
        speed=(5.0, 12.0),
        clearance=(4.0, 16.0),
        engine=Engine(_V8, (750, 1200), (80, 180), (0.1, 0.4), (68, 78), (1.8, 3.8), (300, 1000), (1.0, 0.4, 0.9, 0.3)),
        tyre_db=(60, 68),
        wheelbase_m=(2.65, 2.8),
        hop_hz=(10.5, 15.0),
        bounce_hz=(1.3, 1.8),
        mass=(0.9, 1.2),
    ),
    "walk": Vehicle(speed=(1.1, 1.8), clearance=(2.0, 9.0), bounce_hz=(1.5, 2.3), mass=(0.04, 0.1), steps=True),
}
