"""The independent interval approximation of sequences: whole steps, no derivative, any monotone marginal transform."""

from __future__ import annotations

import math
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from torsor.persistence._check import check_choice
from torsor.persistence._exponent import exponent_of_masses
from torsor.persistence._iia import OnInvalid, _handle, certify
from torsor.persistence._laws import ExcursionLaw
from torsor.persistence._renewal import renew_discrete
from torsor.persistence._sequence import SequenceCovariance

_RISE = 1e-10
_SURVIVAL = 1e-12
_LEFT = 1e-9  # of a mean that has vanished
_MOST = 1 << 17


def iia_discrete(
    acf: Float[Tensor, " n"] | SequenceCovariance | None = None,
    *,
    E: tuple[Tensor, Tensor] | None = None,
    on_invalid: OnInvalid = "warn",
) -> ExcursionLaw:
    """The law of run lengths of a stationary sequence of signs, in steps.

    For signs whose law does not change when all are flipped, `E_0[n] = (A_n - A_(n+1)) / (1 - A_1)`, and run lengths
    are geometric sums of whole numbers with `P(X = n) = E_0[n-1] - E_0[n]`. Nothing has to be smooth, the law does not
    change under monotone transforms of the data, and the mean run `2 / (1 - A_1)` is exact.

    Arguments:
        acf: the autocorrelation `A` of the signs, `(n,)` with `A[0] = 1`, or a sequence such as `AR1(0.9)`. One that
            ends before it has vanished goes on as a geometric sequence. For one that was estimated, with its noise,
            there is `law_of_signs`.
        E: instead of it `(E_plus, E_minus)`, the means of the signs at 0, 1, ... steps after a change to + and to -,
            for signs that are not symmetric (`empirical_slepian` estimates them).
        on_invalid: "raise", "warn" or "project", as in `iia`.

    Raises:
        ValueError: neither or both of `acf` and `E`, a wrong shape, NaN, `A_0` other than 1, `|A_1| >= 1`, `E_plus[0]`
            other than 1.

    Source: the discrete form of Bengtsson, Podgórski 2024 (arXiv 2401.01805).

    >>> import torch
    >>> from torsor.persistence import AR1, iia_discrete
    >>> law = iia_discrete(AR1(0.7))
    >>> print(f"{float(torch.exp(-law.exponent.value)):.5f}", law.certificate.status)
    0.79567 numerical
    """
    check_choice(on_invalid, "on_invalid", ("raise", "warn", "project"))
    if (acf is None) == (E is None):
        raise ValueError("give either acf or E=(E_plus, E_minus)")
    symmetric = E is None
    if E is not None:
        plus, minus = _checked_means(E)
        symmetric = torch.equal(plus, -minus)
    else:
        E0 = _mean_after_change(acf.sign_acf() if isinstance(acf, SequenceCovariance) else acf)  # type: ignore[arg-type]
        plus, minus = E0, -E0
    above = _law(plus, minus, "above")
    if symmetric:
        return _handle(above, on_invalid, None)
    return _paired(above, _law(-minus, -plus, "below"), on_invalid)


def _paired(law: ExcursionLaw, other: ExcursionLaw, on_invalid: OnInvalid) -> ExcursionLaw:
    return _handle(law, on_invalid, partial(_paired, other, law, on_invalid))


def _mean_after_change(A: Tensor) -> Tensor:
    if not isinstance(A, Tensor) or not A.is_floating_point():
        raise TypeError(f"acf must be a floating-point tensor; got {getattr(A, 'dtype', type(A).__name__)}")
    if A.ndim != 1 or len(A) < 3:
        raise ValueError(f"acf must be of shape (n,) with at least 3 lags; got {tuple(A.shape)}")
    if not bool(A.isfinite().all()) or abs(float(A[0]) - 1) > 1e-6:
        raise ValueError(f"acf must be finite with acf[0]=1; got acf[0]={float(A[0]):.6g}")
    if not -1 < float(A[1]) < 1:
        raise ValueError(f"acf[1] must be between -1 and 1; got {float(A[1]):.6g}")
    return _settled(-A.diff() / (1 - A[1]), A[-1] / (1 - A[1]))


def _settled(E0: Tensor, rest: Tensor) -> Tensor:
    """A mean that ends before it has vanished goes on as a geometric sequence; what it sums up to is known."""
    last, left = float(E0[-1].detach()), float(rest.detach())
    if min(last, left) < _LEFT:
        return E0
    ratio = rest / (rest + E0[-1])
    more = min(_MOST, math.ceil(math.log(min(_SURVIVAL / last, 0.5)) / math.log(left / (left + last))))
    return torch.cat([E0, E0[-1] * ratio ** torch.arange(1, more + 1, dtype=E0.dtype, device=E0.device)])


def _checked_means(E: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    plus, minus = E
    if plus.ndim != 1 or plus.shape != minus.shape or len(plus) < 3:
        raise ValueError(
            f"E must be two tensors of one shape (n,), n >= 3; got {tuple(plus.shape)} and {tuple(minus.shape)}"
        )
    if not bool(plus.isfinite().all() and minus.isfinite().all()):
        raise ValueError("E must be finite")
    if abs(float(plus[0]) - 1) > 1e-6 or abs(float(minus[0]) + 1) > 1e-6:
        raise ValueError(f"E must start at 1 and -1; got {float(plus[0]):.6g} and {float(minus[0]):.6g}")
    return plus, minus


def _law(plus: Tensor, minus: Tensor, side: str) -> ExcursionLaw:
    """The runs of + of signs with these means after a change."""
    symmetric = torch.equal(plus, -minus)
    source, kernel = -plus.diff(), minus.diff()
    theta = exponent_of_masses(torch.arange(1, len(plus), dtype=torch.float64), kernel)
    more = 0
    if theta.kind == "exponential":  # masses end with the means; the law goes on until nothing is left
        more = min(_MOST, max(0, int(-torch.log(torch.tensor(_SURVIVAL)) / max(float(theta), 1e-6)) - len(source)))
    source, kernel = (torch.nn.functional.pad(_continued(x, more), (1, 0)) for x in (source, kernel))
    values = renew_discrete(0.5 * source, kernel).cumsum(0)
    certificate = certify(values, 1.0, (plus,) if symmetric else (plus, -minus), False, discrete=True)
    divisor = source.cumsum(0) if symmetric and certificate.max_rise_E0 <= _RISE else None
    return ExcursionLaw(1.0, values, theta, certificate, 0.0, side, True, divisor)  # type: ignore[arg-type]


def _continued(masses: Tensor, more: int) -> Tensor:
    """Masses that go on as a geometric sequence, where they decrease at their end, and as nothing elsewhere."""
    if not more or len(masses) < 2:
        return torch.nn.functional.pad(masses, (0, more))
    before, last = float(masses[-2].detach()), float(masses[-1].detach())
    steps = torch.arange(1, more + 1, dtype=masses.dtype, device=masses.device)
    if not 0 < last < before:
        return torch.cat([masses, torch.zeros_like(steps)])
    return torch.cat([masses, last * (last / before) ** steps])
