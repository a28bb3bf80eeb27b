r"""Links: parameters that follow from others, as functions of the wavelength, of other parameters, or of an order among them.

A function of wavelength is linear in the coordinate in which the parameter is unbounded, :math:`T^{-1}`: the logarithm of a size or
an index, a probit of an axis ratio, a position itself. Its parameter at an image's wavelength is

.. math:: p(\lambda) = T\left(\sum_j B_j(\lambda)\, T^{-1}(c_j)\right)

with Chebyshev polynomials (Häussler et al. 2013, MNRAS 430, 330) or a natural cubic spline as B.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyro.distributions as dist
import torch
from scipy.interpolate import CubicSpline

from bayesjoint.sky.parameters import Link, Param, Ref, Spec
from bayesjoint.units import to_float

__all__ = ["Above", "Expression", "Function", "Polynomial", "WavelengthSpline", "Waves"]

SPREAD = 0.5
"""Width of the default priors of a polynomial's higher coefficients, in a logarithm or probit."""
TURN = 20.0
"""The same for angles, in degrees."""


class Waves(Link):
    """A function of wavelength: what a polynomial and a spline share."""

    def basis(self, wavelengths: np.ndarray, ends: tuple[float, float]) -> np.ndarray:
        """What each of its sites is multiplied by at each of `wavelengths` (m,) in micron, shape (m, k); `ends` are those of the scene."""
        raise NotImplementedError

    def valued(self, count: int) -> list[bool]:
        """Which of its `count` sites are values of the parameter, and not coefficients in its unbounded coordinate."""
        return [True] * count


@dataclass(frozen=True)
class Polynomial(Waves):
    r"""A polynomial in wavelength: Chebyshev's, of the wavelength scaled to [-1, 1] over the images that see the source.

    Its sites are ``galaxy.n.c0``, ``.c1``, ...: c0 in the parameter's own unit, the others in its unbounded coordinate (a logarithm for what
    is positive: :math:`n(\lambda) = c_0 \exp(c_1 T_1 + \ldots)`). Images need a `wavelength`.

    Parameters
    ----------
    order : int
        1 for a straight line; 0 is a constant.
    prior : Pyro distribution, optional
        Of c0; default, the parameter's own.
    coefficients : Pyro distribution, optional
        Of each of the others; default, Normal(0, 0.5) in a logarithm or probit, Normal(0, 20) degrees in an angle, and for what has real
        values a Normal of the width of c0's prior.
    start : float or Quantity, optional
        Of c0, in the parameter's unit; the others begin at 0.
    """

    order: int
    prior: Any = None
    coefficients: Any = None
    start: Any = None

    def __post_init__(self) -> None:
        if not isinstance(self.order, int) or isinstance(self.order, bool) or not 0 <= self.order <= 12:
            raise ValueError(f"A Polynomial's order is to be a whole number from 0 to 12, and {self.order!r} came.")
        for prior in (self.prior, self.coefficients):
            Param(prior=prior)  # refuses what is no prior

    def own(self, spec: Spec) -> list[tuple[Spec, Param]]:
        """See `Link.own`."""
        first = replace(spec, name=f"{spec.name}.c0", doc=f"{spec.doc}: the polynomial's constant", per="scene")
        unit = spec.unit if spec.real else ""
        sites = [(first, Param(prior=self.prior, start=self.start))]
        for k in range(1, self.order + 1):
            doc = f"{spec.doc}: coefficient of the Chebyshev polynomial {k} of wavelength" + ("" if spec.real else ", in its unbounded coordinate")
            sites.append((Spec(f"{spec.name}.c{k}", unit, doc, guess=0.0), Param(prior=self.coefficients or self._spread(spec))))
        return sites

    def valued(self, count: int) -> list[bool]:
        """See `Waves.valued`."""
        return [True] + [False] * (count - 1)

    @staticmethod
    def _spread(spec: Spec) -> Any:
        """Prior of a coefficient; None where it is as wide as c0's."""
        if spec.cyclic or not spec.real:
            return dist.Normal(torch.tensor(0.0, dtype=torch.float64), torch.tensor(TURN if spec.cyclic else SPREAD, dtype=torch.float64))
        return None

    def basis(self, wavelengths: np.ndarray, ends: tuple[float, float]) -> np.ndarray:
        """See `Waves.basis`."""
        lo, hi = ends
        x = np.zeros_like(wavelengths) if hi == lo else (2 * wavelengths - lo - hi) / (hi - lo)
        return np.polynomial.chebyshev.chebvander(x, self.order)

    def plain(self) -> dict[str, Any]:
        """See `Link.plain`."""
        return {"polynomial": self.order}


@dataclass(frozen=True)
class WavelengthSpline(Waves):
    """A natural cubic spline in wavelength, given by its values at knots: sites ``galaxy.r_eff.k0``, ``.k1``, ...

    Parameters
    ----------
    knots : sequence of float or Quantity
        Wavelengths in micron, at least two, increasing; beyond the ends the spline goes on straight.
    prior : Pyro distribution, optional
        Of the value at each knot, in the parameter's unit; default, the parameter's own.
    start : float or Quantity, optional
        Of each, in the parameter's unit.
    """

    knots: tuple[float, ...]
    prior: Any = None
    start: Any = None

    def __post_init__(self) -> None:
        knots = tuple(to_float(k, "um", "a WavelengthSpline's knot") for k in np.atleast_1d(self.knots))
        if len(knots) < 2 or any(b <= a for a, b in itertools.pairwise(knots)):
            raise ValueError(f"A WavelengthSpline's knots are to be two or more wavelengths in increasing order, and {knots} came.")
        object.__setattr__(self, "knots", knots)
        Param(prior=self.prior)

    def own(self, spec: Spec) -> list[tuple[Spec, Param]]:
        """See `Link.own`."""
        return [
            (replace(spec, name=f"{spec.name}.k{j}", doc=f"{spec.doc}: at {k:g} micron", per="scene"), Param(prior=self.prior, start=self.start))
            for j, k in enumerate(self.knots)
        ]

    def basis(self, wavelengths: np.ndarray, ends: tuple[float, float]) -> np.ndarray:
        """See `Waves.basis`."""
        spline = CubicSpline(self.knots, np.eye(len(self.knots)), bc_type="natural")
        inside = np.clip(wavelengths, self.knots[0], self.knots[-1])
        return spline(inside) + spline(inside, 1) * (wavelengths - inside)[:, None]

    def plain(self) -> dict[str, Any]:
        """See `Link.plain`."""
        return {"wavelength_spline": list(self.knots)}


OPERATIONS: dict[str, Callable[..., Any]] = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "div": operator.truediv, "pow": operator.pow,
    "exp": torch.exp, "log": torch.log, "sqrt": torch.sqrt,
}  # fmt: skip


@dataclass(frozen=True)
class Expression(Link):
    """Arithmetic on parameters: ``bj.Exponential("disc", r_eff=2.5 * bulge.r_eff)``; +, -, *, /, ** with numbers and one another, and
    ``.exp()``, ``.log()``, ``.sqrt()``. It is written out in files and read back without running anything.

    Parameters
    ----------
    operation : str
        One of add, sub, mul, div, pow, exp, log, sqrt.
    args : tuple
        Parameters, numbers (in the parameters' units), expressions.
    """

    operation: str
    args: tuple[Any, ...]

    def refs(self) -> list[Ref]:
        """See `Link.refs`."""
        return [r for a in self.args for r in ([a] if isinstance(a, Ref) else a.refs() if isinstance(a, Expression) else [])]

    def rebuilt(self, change: Callable[[Ref], Ref]) -> Expression:
        """See `Link.rebuilt`."""
        return Expression(
            self.operation, tuple(change(a) if isinstance(a, Ref) else a.rebuilt(change) if isinstance(a, Expression) else a for a in self.args)
        )

    def value(self, values: Sequence[torch.Tensor], spec: Spec) -> torch.Tensor:
        """See `Link.value`."""
        left = list(values)

        def of(e: Any) -> Any:
            if isinstance(e, Ref):
                return left.pop(0)
            return OPERATIONS[e.operation](*[of(a) for a in e.args]) if isinstance(e, Expression) else e

        return of(self)

    def is_affine(self, spec: Spec) -> bool:
        """Whether it is a sum of its parameters times numbers, plus a number."""
        held = [not isinstance(a, Ref) and not (isinstance(a, Expression) and a.refs()) for a in self.args]
        straight = all(a.is_affine(spec) for a in self.args if isinstance(a, Expression))
        return straight and (self.operation in ("add", "sub") or (self.operation == "mul" and any(held)) or (self.operation == "div" and held[1]))

    def plain(self) -> dict[str, Any]:
        """See `Link.plain`."""
        return {self.operation: [repr(a) if isinstance(a, Ref) else a.plain() if isinstance(a, Expression) else float(a) for a in self.args]}

    def __repr__(self) -> str:
        args = [repr(a) if isinstance(a, Ref | Expression) else f"{a:g}" for a in self.args]
        sign = {"add": "+", "sub": "-", "mul": "*", "div": "/", "pow": "**"}.get(self.operation)
        return f"({args[0]} {sign} {args[1]})" if sign else f"{self.operation}({args[0]})"


@dataclass(frozen=True)
class Function(Link):
    """Any function of other parameters, of torch tensors: ``bj.Function(lambda r: 2 * torch.sqrt(r), bulge.r_eff)``. It cannot be saved;
    what arithmetic can say (`Expression`) can.

    Parameters
    ----------
    function : callable
        Of 0-d torch tensors in the parameters' units (arcsec, degree, nJy); gives one in the unit of the parameter that it is for.
    *parameters : parameters of components
        What it is given, in order.

    Raises
    ------
    TypeError
        For anything else.
    """

    function: Callable[..., torch.Tensor]
    parameters: tuple[Ref, ...]

    def __init__(self, function: Callable[..., torch.Tensor], *parameters: Ref) -> None:
        if not callable(function) or not parameters or not all(isinstance(p, Ref) for p in parameters):
            raise TypeError("bj.Function takes a function of tensors and the parameters that it is given, such as bulge.r_eff.")
        object.__setattr__(self, "function", function)
        object.__setattr__(self, "parameters", tuple(parameters))

    def refs(self) -> list[Ref]:
        """See `Link.refs`."""
        return list(self.parameters)

    def rebuilt(self, change: Callable[[Ref], Ref]) -> Function:
        """See `Link.rebuilt`."""
        return Function(self.function, *(change(p) for p in self.parameters))

    def value(self, values: Sequence[torch.Tensor], spec: Spec) -> torch.Tensor:
        """See `Link.value`."""
        return self.function(*values)

    def plain(self) -> dict[str, Any]:
        """See `Link.plain`."""
        raise ValueError("A bj.Function of your own cannot be saved: use arithmetic on parameters, such as 2 * bulge.r_eff.")

    def __repr__(self) -> str:
        return f"{getattr(self.function, '__name__', 'function')}({', '.join(map(repr, self.parameters))})"


@dataclass(frozen=True)
class Above(Link):
    """A parameter that is always above another of the same kind, so that two components cannot change places: ``r_eff=bj.Above(bulge.r_eff)``.

    What is positive is the other times 1 + a, what has real values is the other plus a; a > 0 is the site ``disc.r_eff.above``.

    Parameters
    ----------
    other : parameter of a component
        The one below.
    prior : Pyro distribution, optional
        Of a; default LogNormal(0, 1) for a ratio. For real values it is to be given.
    """

    other: Ref
    prior: Any = None

    def __post_init__(self) -> None:
        if not isinstance(self.other, Ref):
            raise TypeError(f"bj.Above takes the parameter below, such as bulge.r_eff, and {self.other!r} came.")
        Param(prior=self.prior)
        if self.prior is not None and bool(self.prior.support.check(torch.tensor(-1e-3))):
            raise ValueError(
                f"The prior of bj.Above is to allow positive values alone, and {type(self.prior).__name__} came: use LogNormal or HalfNormal."
            )

    def own(self, spec: Spec) -> list[tuple[Spec, Param]]:
        """See `Link.own`."""
        if spec.bounds[1] == 1.0 or spec.cyclic:
            raise ValueError(f"{spec.name} has no order that bj.Above could keep: it ends, or is an angle.")
        if spec.real and self.prior is None:
            raise ValueError(f"bj.Above for {spec.name}, which has real values, needs a prior of its own: how far above is it?")
        prior = self.prior or dist.LogNormal(torch.tensor(0.0, dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64))
        doc = f"{spec.doc}: by how much it is above {self.other!r}" + ("" if spec.real else ", as a part of that")
        return [(Spec(f"{spec.name}.above", spec.unit if spec.real else "", doc, bounds=(1e-12, math.inf), guess=1.0), Param(prior=prior))]

    def refs(self) -> list[Ref]:
        """See `Link.refs`."""
        return [self.other]

    def rebuilt(self, change: Callable[[Ref], Ref]) -> Above:
        """See `Link.rebuilt`."""
        return Above(change(self.other), self.prior)

    def value(self, values: Sequence[torch.Tensor], spec: Spec) -> torch.Tensor:
        """See `Link.value`."""
        own, below = values
        return below + own if spec.real else below * (1 + own)

    def is_affine(self, spec: Spec) -> bool:
        """See `Link.is_affine`."""
        return spec.real

    def plain(self) -> dict[str, Any]:
        """See `Link.plain`."""
        return {"above": repr(self.other)}

    def __repr__(self) -> str:
        return f"above {self.other!r}"
