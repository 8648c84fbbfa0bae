"""The Gaunt product of signals on the sphere, and its antisymmetric half, the Poisson bracket."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from torsor.build.so3 import _routes
from torsor.build.so3._compiled import can_compile, compiled
from torsor.build.so3._grid import SphereGrid, check_degree
from torsor.build.so3._operators import traceable

Backend = Literal["auto", "dense", "sparse", "grid", "separable", "fourier", "compiled"]

ROUTES = {
    "dense": _routes.dense,
    "sparse": _routes.sparse,
    "grid": _routes.on_grid,
    "separable": _routes.separable,
    "fourier": _routes.fourier,
    "compiled": compiled,
}
BACKENDS = ("auto", *ROUTES)


def gaunt_product(
    x: Float[Tensor, "*batch_x c_x basis_x"],
    y: Float[Tensor, "*batch_y c_y basis_y"],
    lmax_out: int,
    *,
    antisymmetric: bool = False,
    normalized: bool = False,
    backend: Backend = "auto",
    grid: SphereGrid | None = None,
) -> Float[Tensor, "*batch c basis"]:
    """The product of two signals on the sphere, up to a degree: `z(n) = x(n) y(n)`, or the bracket {x, y}(n).

    Signals are coefficients of orthonormal harmonics, `x(n) = sum x_lm Y_lm(n)`, entry l^2 + l + m on the last axis.
    What is above `lmax_out` is cut off, nothing is folded back. Bilinear, differentiable any number of times; inputs
    broadcast against each other, also in the channels.

    Arguments:
        x: coefficients up to a degree L1 that is read off the last axis.
        y: coefficients up to L2.
        lmax_out: highest degree of the result, at most L1 + L2.
        antisymmetric: the Poisson bracket n . (grad x grad y): what couples degrees of odd sum.
        normalized: of the bracket, divide both inputs by sqrt(l (l + 1)).
        backend: `"auto"` takes the fastest that is there, on a GPU the grid. `"dense"`, `"sparse"`, `"grid"`,
            `"separable"` and `"fourier"` are plain PyTorch; `"compiled"` is C++ made on first use, or Triton on CUDA:
            an operator in graphs of `torch.compile`, which gives way to them where there is neither and in derivatives
            by `torch.func`. All give the same numbers; `"fourier"` is the published route and the slowest.
        grid: the points of `backend="grid"`; by default the fewest that are exact.

    Raises:
        ValueError: a last axis is no square, the channels or devices differ, `lmax_out` is above L1 + L2, the grid is
            too coarse, the backend unknown.
        TypeError: the inputs are not floating point, are half precision on a CPU, or differ in dtype.

    Source: Luo, Chen, Krishnapriyan 2024 (arXiv 2401.10216), section 3; Bochkarev et al. 2026 (arXiv 2605.15073).

    >>> u, v = torch.randn(2, 1, 3, dtype=torch.float64)
    >>> signal = lambda u: torch.nn.functional.pad(u, (1, 0))            # u . n up to a factor
    >>> cross = gaunt_product(signal(u), signal(v), 1, antisymmetric=True)[:, 1:]
    >>> torch.allclose(cross * (4 * torch.pi / 3) ** 0.5, torch.linalg.cross(u, v))
    True
    """
    degrees = check_signals(x, y, lmax_out)
    if backend not in BACKENDS:
        raise ValueError(f"backend must be one of {', '.join(BACKENDS)}; got {backend!r}")
    if grid is not None:
        needed = _routes.grid_degree(degrees, antisymmetric)
        if backend not in ("auto", "grid"):
            raise ValueError(f'grid must be left out unless backend is "grid"; got backend {backend!r}')
        if grid.degree < needed:
            raise ValueError(f"grid must have degree {needed} or more for degrees {degrees}; got {grid}")
        backend = "grid"
    if x.numel() == 0 or y.numel() == 0:  # no FFT of nothing
        backend = "dense"
    if backend in ("auto", "compiled"):
        backend = _fastest(x, degrees, asked=backend == "compiled")
    return ROUTES[backend](x, y, degrees, antisymmetric, normalized, grid)


def _fastest(x: Tensor, degrees: tuple[int, int, int], asked: bool) -> Backend:
    """Measured on CPUs; on a GPU, where nobody has measured, kernels are taken if they are asked for."""
    if max(degrees) <= 8 and (asked or x.device.type == "cpu") and (can_compile(x) or traceable(x)):
        return "compiled"
    return "grid" if max(degrees) <= 8 else "separable"


def check_signals(x: Tensor, y: Tensor, lmax_out: int) -> tuple[int, int, int]:
    """The degrees of a product, or what is wrong with it."""
    for name, signal in (("x", x), ("y", y)):
        check_dtype(name, signal)
        if signal.ndim < 2:
            raise ValueError(f"{name} must be (..., channels, (L + 1)^2); got shape {tuple(signal.shape)}")
    if x.dtype != y.dtype:
        raise TypeError(f"x and y must have one dtype; got {x.dtype} and {y.dtype}")
    if x.device != y.device:
        raise ValueError(f"x and y must be on one device; got {x.device} and {y.device}")
    if x.shape[-2] != y.shape[-2] and 1 not in (x.shape[-2], y.shape[-2]):
        raise ValueError(f"x and y must have equal numbers of channels, or one; got {x.shape[-2]} and {y.shape[-2]}")
    L1, L2, L3 = signal_degree("x", x), signal_degree("y", y), check_degree(lmax_out, "lmax_out")
    if L3 > L1 + L2:
        raise ValueError(f"lmax_out must be at most L1 + L2 = {L1 + L2}; got {L3}")
    return L1, L2, L3


def signal_degree(name: str, x: Tensor) -> int:
    """The highest degree of a signal, from its last axis."""
    L = int(x.shape[-1] ** 0.5 + 0.5) - 1
    if L < 0 or x.shape[-1] != (L + 1) ** 2:
        raise ValueError(f"{name} must end in (L + 1)^2 = 1, 4, 9, ... coefficients; got shape {tuple(x.shape)}")
    return L


def check_dtype(name: str, x: Tensor) -> None:
    """TypeError unless x is a real floating-point tensor that this device can compute with."""
    if not (isinstance(x, Tensor) and x.is_floating_point()):
        raise TypeError(f"{name} must be a real floating-point tensor; got {getattr(x, 'dtype', type(x).__name__)}")
    if x.dtype == torch.float16 and x.device.type == "cpu":
        raise TypeError(f"{name} must not be float16 on a CPU; use bfloat16 or float32")
