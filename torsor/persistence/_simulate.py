"""Exact simulation of stationary Gaussian processes, and what their excursions say about the exponent."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from torsor.persistence._check import check_covariance
from torsor.persistence._covariance import Covariance
from torsor.persistence._exponent import checking_grid
from torsor.persistence._runs import excursions
from torsor.persistence._sequence import SequenceCovariance

_NEGATIVE = 1e-10
_DOUBLINGS = 3
_BATCH, _LENGTH = 8, 1 << 17


def simulate_gaussian(
    cov: Covariance | SequenceCovariance,
    n: int,
    dt: float = 1.0,
    batch: int = 1,
    *,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float64,
) -> Float[Tensor, "batch n"]:
    """Paths of the process on an even grid, exactly: by circulant embedding and the fast Fourier transform.

    Arguments:
        cov: the covariance; of a sequence, such as `AR1(0.9)`, the step is one.
        n: points per path.
        dt: the step, in units of time.
        batch: paths.
        generator: draws come from it, on its device.
        dtype: of the paths.

    Returns:
        `(batch, n)`, of mean 0 and variance 1.

    Raises:
        ValueError: fewer than 2 points, no paths, a step that is not positive; or no embedding that is positive: its
            smallest eigenvalue is named. Nothing is clipped but rounding.

    Source: Dietrich, Newsam 1997, SIAM J. Sci. Comput. 18, 1088.

    >>> import torch
    >>> from torsor.persistence import SquaredExponential, simulate_gaussian
    >>> x = simulate_gaussian(SquaredExponential(), 4096, 0.1, 50, generator=torch.Generator().manual_seed(0))
    >>> print(x.shape, f"{float((x[:, 10:] * x[:, :-10]).mean()):.1f}")  # exp(-1/2) = 0.61
    torch.Size([50, 4096]) 0.6
    """
    if n < 2 or batch < 1:
        raise ValueError(f"n must be at least 2 and batch at least 1; got n={n}, batch={batch}")
    if not 0 < dt < math.inf:
        raise ValueError(f"dt must be positive and finite; got {dt}")
    if not isinstance(cov, SequenceCovariance):
        check_covariance(cov, checking_grid(cov))
    device = generator.device if generator is not None else torch.device("cpu")
    with torch.no_grad():
        eigenvalues = _embedding(cov, n, dt).to(device=device, dtype=dtype)
    return _paths(eigenvalues, n, batch, generator)


def _embedding(cov: Covariance | SequenceCovariance, n: int, dt: float) -> Tensor:
    """The eigenvalues of the circulant matrix with first row `r(0), ..., r(m/2), ..., r(dt)`, `m` a power of two."""
    half = 1 << max(1, (n - 2).bit_length())
    for doubling in range(_DOUBLINGS + 1):
        lags = torch.arange(half + 1, dtype=torch.float64)
        r = cov.acf(lags) if isinstance(cov, SequenceCovariance) else cov((lags * dt).to(cov.dtype)).double().cpu()
        row = torch.cat([r, r[1:-1].flip(0)])
        eigenvalues = torch.fft.fft(row).real
        smallest = float(eigenvalues.min())
        if smallest >= -_NEGATIVE * float(eigenvalues.max()):
            return eigenvalues.clamp(min=0)  # rounding
        if doubling < _DOUBLINGS:
            half *= 2
    raise ValueError(
        f"cov has no positive circulant embedding of {2 * half} points at dt={dt:g}: smallest eigenvalue {smallest:.3g}"
    )


def _paths(eigenvalues: Tensor, n: int, batch: int, generator: torch.Generator | None) -> Tensor:
    m = len(eigenvalues)
    kwargs = {"generator": generator, "dtype": eigenvalues.dtype, "device": eigenvalues.device}
    noise = torch.randn((batch + 1) // 2, m, 2, **kwargs)  # type: ignore[arg-type]
    both = torch.fft.fft(torch.view_as_complex(noise) * (eigenvalues / m).sqrt())[:, :n]
    return torch.view_as_real(both).movedim(-1, 1).reshape(-1, n)[:batch].contiguous()  # real and imaginary: two paths


class SimulatedExponent(NamedTuple):
    """An exponent from simulation: its value at the step, its standard error, and its limit for vanishing steps."""

    value: float
    stderr: float
    dt_extrapolated: float


def simulate_exponent(
    cov: Covariance,
    *,
    dt: float | None = None,
    n_samples: int = 1 << 24,
    window: tuple[float, float] | None = None,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float64,
) -> SimulatedExponent:
    """The persistency exponent of the process itself, by simulation: the slope of the log survival over a window.

    The slope is the maximum-likelihood rate of lengths censored at the end of the window; its error comes from batches.
    Excursions that are shorter than a step are missed, so the same paths are also read at every second point, and the
    two are extrapolated.

    Arguments:
        cov: the covariance.
        dt: the step; 0.02 / sqrt(lambda2) by default.
        n_samples: points in all; rounded up to batches of 8 paths of 2^17.
        window: in units of time; 3 to 6 mean intervals by default.
        generator: draws come from it.
        dtype: of the paths; float32 is twice as fast and good enough for signs.

    Raises:
        ValueError: a window that is not ordered, or one that no excursion reaches.

    >>> import torch
    >>> from torsor.persistence import SechDiffusion, simulate_exponent
    >>> found = simulate_exponent(SechDiffusion(2), n_samples=1 << 23, generator=torch.Generator().manual_seed(0))
    >>> abs(found.value - 3 / 16) < 4 * found.stderr
    True
    """
    dt = 0.02 * float(cov.unit.detach()) if dt is None else dt
    start, end = window or (3 * cov.mean_interval, 6 * cov.mean_interval)
    if not 0 <= start < end < math.inf:
        raise ValueError(f"window must be (start, end) with 0 <= start < end; got {window}")
    batches = max(2, math.ceil(n_samples / (_BATCH * _LENGTH)))
    counts = torch.zeros(batches, 2, 2, dtype=torch.float64)  # batch, stride, (ends, time)
    check_covariance(cov, checking_grid(cov))
    with torch.no_grad():
        eigenvalues = _embedding(cov, _LENGTH, dt)
    device = generator.device if generator is not None else torch.device("cpu")
    eigenvalues = eigenvalues.to(device=device, dtype=dtype)
    for b in range(batches):
        x = _paths(eigenvalues, _LENGTH, _BATCH, generator)
        for s, stride in enumerate((1, 2)):
            counts[b, s] = window_counts(excursions(x[:, ::stride]).lengths, start / (stride * dt), end / (stride * dt))
    fine, coarse = counts.sum(0)
    if float(fine[0]) == 0:
        raise ValueError(f"no excursion ended between {start:g} and {end:g}: take more samples or an earlier window")
    value, twice = float(fine[0] / fine[1]) / dt, float(coarse[0] / coarse[1]) / (2 * dt)
    # delta method over the batches
    residual = counts[:, 0, 0] - value * dt * counts[:, 0, 1]
    stderr = float(residual.std() * math.sqrt(batches) / fine[1]) / dt
    order = 2.0 if cov.order > 1.5 else 1.5
    return SimulatedExponent(value, stderr, value + (value - twice) / (2**order - 1))


def window_counts(lengths: Tensor, start: float, end: float) -> Tensor:
    """How many runs end in the window, and the steps that runs spend in it: their ratio is the rate per step.

    The window is moved to the middles of steps: a run of `k` steps has a length of `k` on average, and rates from whole
    numbers counted from a whole number would be half a step's worth too small.
    """
    start, end = math.floor(start) + 0.5, math.floor(end) + 0.5
    late = lengths[lengths > start].double()
    return torch.stack([(late < end).sum().double(), (late.clamp(max=end) - start).sum()])
