"""Charged particles: the fixed-step simulator of the published benchmark, and one that resolves close encounters."""

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

DT = 1e-3  # the time step of the published simulator
MAX_FORCE = 100.0  # its bound on each component of the force on a particle

Clip = Literal["component", "norm"]
State = tuple[Float[Tensor, "*batch n d"], Float[Tensor, "*batch n d"]]

_BLOCK = 2048  # simulations at a time: what fits in a cache
_ORDER = 8
_GROWTH = 0.2, 6.0  # bounds on the change of a step size
_SAFETY = 0.9
_MOST_STEPS = 1_000_000


def simulate_charges(
    positions: Float[Tensor, "*batch n d"],
    velocities: Float[Tensor, "*batch n d"],
    charges: Float[Tensor, "*batch n 1"],
    steps: int,
    *,
    dt: float = DT,
    clip: Clip | None = "component",
    max_force: float = MAX_FORCE,
) -> State:
    """Positions and velocities after a number of steps of symplectic Euler, as in the published n-body benchmark.

    Each step is `v += dt F(x)`, then `x += dt v`, with `F_a = sum_b q_a q_b (x_a - x_b) / |x_a - x_b|^3` and unit
    masses: `steps` in two calls equal their sum in one, bit for bit. All simulations run at once, in float64, and none
    feels which others run beside it.

    Arguments:
        positions, velocities: of the particles.
        charges: of the particles.
        steps: how many.
        dt: length of a step.
        clip: bound each component of the force on a particle by `max_force`, as published, which breaks the symmetry
            under rotation in close encounters; or its `"norm"`, which keeps it; None leaves the force as it is.
        max_force: the bound.

    Returns:
        Positions and velocities, in the dtype and on the device of `positions`.

    Raises:
        ValueError: shapes that differ, a negative number of steps, values that are not finite, two particles at one
            place, an unknown `clip`.

    Source: Satorras, Hoogeboom, Welling 2021 (arXiv 2102.09844), section 5.1; Kipf et al. 2018 (arXiv 1802.04687).

    >>> x = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]], dtype=torch.float64)
    >>> x, v = simulate_charges(x, 0 * x, torch.tensor([[1.0], [-1.0]]), steps=100)
    >>> x[:, 0].round(decimals=4), v[:, 0].round(decimals=4)
    (tensor([0.0051, 0.9949], dtype=torch.float64), tensor([ 0.1007, -0.1007], dtype=torch.float64))
    """
    if steps < 0:
        raise ValueError(f"steps must be at least 0; got {steps}")
    if clip not in ("component", "norm", None):
        raise ValueError(f'clip must be "component", "norm" or None; got {clip!r}')

    def advance(x: np.ndarray, v: np.ndarray, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        force = np.empty_like(x)
        work = _workspace(x)
        for _ in range(steps):
            coulomb(x, pairs, force, work)
            if clip == "component":
                np.clip(force, -max_force, max_force, out=force)
            elif clip == "norm":
                norm = np.sqrt(np.square(force).sum(0))
                force *= max_force / np.maximum(norm, max_force)
            force *= dt
            v += force
            np.multiply(v, dt, out=force)
            x += force
        return x, v

    return _in_blocks(advance, positions, velocities, charges)


def resolve_charges(
    positions: Float[Tensor, "*batch n d"],
    velocities: Float[Tensor, "*batch n d"],
    charges: Float[Tensor, "*batch n 1"],
    time: float,
    *,
    tolerance: float = 1e-9,
) -> State:
    """Positions and velocities after some time, with close encounters resolved and no bound on the force.

    The method of Dormand and Prince of order 8(5,3) with a step size for each simulation, chosen by an error that does
    not change under rotations, reflections, translations and permutations: the map keeps these symmetries to rounding.

    Arguments:
        positions, velocities, charges: as in `simulate_charges`.
        time: how long; `steps * dt` there.
        tolerance: on the error of a step: absolute for positions, relative to `1 + |v|` for velocities.

    Raises:
        ValueError: as `simulate_charges`; negative `time`, `tolerance` not positive.
        RuntimeError: an encounter so close that no step size resolves it.

    Source: Hairer, Norsett, Wanner 1993, Solving Ordinary Differential Equations I, section II.10; coefficients of
        `scipy.integrate.DOP853`.

    >>> x = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64)  # half a turn on a circle, at speed 1/2
    >>> v = torch.tensor([[0.0, 0.5], [0.0, -0.5]], dtype=torch.float64)
    >>> q = torch.tensor([[1.0], [-1.0]])
    >>> x, v = resolve_charges(x, v, q, 2 * torch.pi)
    >>> x.round(decimals=6) + 0
    tensor([[-1.,  0.],
            [ 1.,  0.]], dtype=torch.float64)
    """
    if time < 0:
        raise ValueError(f"time must be at least 0; got {time}")
    if tolerance <= 0:
        raise ValueError(f"tolerance must be positive; got {tolerance}")

    def advance(x: np.ndarray, v: np.ndarray, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        state = _dormand_prince(np.stack([x, v]), pairs, time, tolerance)
        return state[0], state[1]

    return _in_blocks(advance, positions, velocities, charges)


def coulomb(x: np.ndarray, pairs: np.ndarray, force: np.ndarray, work: tuple[np.ndarray, ...]) -> None:
    """Write the forces on particles at `x (d, n, S)` into `force`; `pairs (P, S)` holds the products of charges.

    Sums run in a fixed order, so that a simulation gives the same bits whichever others are computed beside it.
    """
    apart, square, scratch = work
    n = x.shape[1]
    start = 0
    for a in range(n - 1):
        stop = start + n - 1 - a
        np.subtract(x[:, a : a + 1], x[:, a + 1 :], out=apart[:, start:stop])
        start = stop
    np.multiply(apart, apart, out=scratch)
    np.add.reduce(scratch, axis=0, out=square)
    np.sqrt(square, out=scratch[0])
    square *= scratch[0]
    np.divide(pairs, square, out=square)
    np.multiply(apart, square, out=scratch)
    force[...] = 0
    start = 0
    for a in range(n - 1):
        stop = start + n - 1 - a
        force[:, a + 1 :] -= scratch[:, start:stop]
        for pair in range(start, stop):
            force[:, a] += scratch[:, pair]
        start = stop


def _workspace(x: np.ndarray) -> tuple[np.ndarray, ...]:
    d, n, simulations = x.shape
    pairs = n * (n - 1) // 2
    return np.empty((d, pairs, simulations)), np.empty((pairs, simulations)), np.empty((d, pairs, simulations))


def _dormand_prince(y: np.ndarray, pairs: np.ndarray, time: float, tolerance: float) -> np.ndarray:
    """The state `y (2, d, n, S)` after `time`; simulations leave the computation when they get there."""
    from scipy.integrate import DOP853  # here, because importing the library must not import SciPy

    done = np.empty_like(y)
    where = np.arange(y.shape[-1])
    left = np.full(len(where), float(time))
    step = np.minimum(DT, left)
    slope = _slope(y, pairs)
    for _ in range(_MOST_STEPS):
        arrived = left <= 0
        if arrived.any():
            done[..., where[arrived]] = y[..., arrived]
            y, pairs, slope = y[..., ~arrived], pairs[:, ~arrived], slope[..., ~arrived]
            where, left, step = where[~arrived], left[~arrived], step[~arrived]
        if not len(where):
            return done
        step = np.minimum(step, left)
        stages = [slope]
        for row in DOP853.A[1:]:
            stages.append(_slope(y + step * _combine(row, stages), pairs))
        new = y + step * _combine(DOP853.B, stages)
        stages.append(_slope(new, pairs))
        error = _error(y, step, stages, tolerance)
        accepted = error <= 1
        y = np.where(accepted, new, y)
        slope = np.where(accepted, stages[-1], slope)
        left = np.where(accepted, left - step, left)
        with np.errstate(divide="ignore"):
            step = step * np.clip(_SAFETY * error ** (-1 / _ORDER), *_GROWTH)
        if (step < 1e-15 * max(time, 1e-3)).any():
            break
    raise RuntimeError(f"simulation {where[step.argmin()]}: two particles come too close for any step size")


def _slope(y: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    slope = np.empty_like(y)
    slope[0] = y[1]
    coulomb(y[0], pairs, slope[1], _workspace(y[0]))
    return slope


def _combine(weights: np.ndarray, stages: list[np.ndarray]) -> np.ndarray:
    total = np.zeros_like(stages[0])
    for weight, stage in zip(weights, stages):
        if weight:
            total += weight * stage
    return total


def _error(y: np.ndarray, step: np.ndarray, stages: list[np.ndarray], tolerance: float) -> np.ndarray:
    """The error of a step over the tolerance, from lengths of vectors only; Hairer et al., equation (II.10.17)."""
    from scipy.integrate import DOP853

    speed = np.sqrt(np.square(y[1]).sum(0))
    scale = tolerance * np.stack([np.ones_like(speed), 1 + speed])

    def square(weights: np.ndarray) -> np.ndarray:
        lengths = np.square(_combine(weights, stages)).sum(1)
        return (lengths / scale**2).sum((0, 1))

    fifth, third = square(DOP853.E5), square(DOP853.E3)
    below = np.sqrt((fifth + 0.01 * third) * y[:, 0, :, 0].size)
    return np.divide(step * fifth, below, out=np.zeros_like(step), where=below > 0)


def _in_blocks(advance, positions: Tensor, velocities: Tensor, charges: Tensor) -> State:
    """Apply `advance` to blocks of simulations that are laid out `(d, n, S)`, with products of charges `(P, S)`."""
    _check(positions, velocities, charges)
    n, d = positions.shape[-2:]
    x, v = (t.detach().to(torch.float64).reshape(-1, n, d).numpy(force=True) for t in (positions, velocities))
    q = charges.detach().to(torch.float64).reshape(-1, n).numpy(force=True)
    first, second = np.triu_indices(n, 1)
    out = np.empty((2, *x.shape))
    for start in range(0, len(x), _BLOCK):
        block = slice(start, start + _BLOCK)
        pairs = np.ascontiguousarray((q[block, first] * q[block, second]).T)
        state = (np.ascontiguousarray(t[block].transpose(2, 1, 0)) for t in (x, v))
        for k, moved in enumerate(advance(*state, pairs)):
            out[k, block] = moved.transpose(2, 1, 0)
    moved_x, moved_v = (
        torch.from_numpy(t).reshape(positions.shape).to(device=positions.device, dtype=positions.dtype) for t in out
    )
    return moved_x, moved_v


def _check(positions: Tensor, velocities: Tensor, charges: Tensor) -> None:
    if positions.ndim < 2:
        raise ValueError(f"positions must be (..., n, d); got shape {tuple(positions.shape)}")
    if velocities.shape != positions.shape:
        raise ValueError(f"velocities must be {tuple(positions.shape)} like positions; got {tuple(velocities.shape)}")
    if charges.shape != (*positions.shape[:-1], 1):
        raise ValueError(f"charges must be {(*positions.shape[:-1], 1)}; got {tuple(charges.shape)}")
    for name, x in (("positions", positions), ("velocities", velocities), ("charges", charges)):
        if not bool(torch.isfinite(x).all()):
            raise ValueError(f"{name} must be finite; got NaN or infinity")
    n = positions.shape[-2]
    first, second = torch.triu_indices(n, n, 1, device=positions.device)
    together = (positions[..., first, :] == positions[..., second, :]).all(-1)
    if bool(together.any()):
        raise ValueError("positions must be distinct; two particles are at one place")
