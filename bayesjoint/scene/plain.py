"""Plain: priors and links as text and numbers, and back; nothing that they name is run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyro.distributions as dist
import torch

from bayesjoint.sky.links import OPERATIONS, Above, Expression, Polynomial, WavelengthSpline
from bayesjoint.sky.parameters import Link, Ref
from bayesjoint.sky.priors import (
    Angle,
    AxisRatio,
    SoftPositive,
    TruncatedLogNormal,
    TruncatedNormal,
)
from bayesjoint.units import to_float

__all__ = ["link_from_plain", "link_to_plain", "prior_from_plain", "prior_to_plain", "ref_from_plain"]

OURS = {
    kind.__name__: kind
    for kind in (AxisRatio, Angle, TruncatedNormal, TruncatedLogNormal, SoftPositive)
}
KNOWN = (
    "Normal",
    "LogNormal",
    "Uniform",
    "HalfNormal",
    "HalfCauchy",
    "Cauchy",
    "StudentT",
    "Gamma",
    "InverseGamma",
    "Beta",
    "Exponential",
    "Laplace",
    "Gumbel",
    "Weibull",
    "Pareto",
    "Logistic",
)


def prior_to_plain(prior: Any, where: str) -> dict[str, dict[str, float]]:
    """A distribution as {name: {argument: number}}.

    Raises
    ------
    ValueError
        For distributions that are not among those which can be written.
    """
    name = type(prior).__name__
    if name not in OURS and (name not in KNOWN or not isinstance(prior, getattr(dist, name, ()))):
        raise ValueError(f"The prior {name} of {where} cannot be saved: use one of {', '.join((*OURS, *KNOWN))}.")
    arguments = [a for a in prior.arg_constraints if a not in ("logits", "probs")]
    return {name: {a: float(getattr(prior, a)) for a in arguments}}


def prior_from_plain(plain: Any, where: str) -> Any:
    """The distribution that `prior_to_plain` wrote."""
    if not isinstance(plain, dict) or len(plain) != 1:
        raise ValueError(f"The prior of {where} is to be one distribution with its arguments, and {plain!r} stands there.")
    ((name, arguments),) = plain.items()
    kind = OURS.get(name) or (getattr(dist, name, None) if name in KNOWN else None)
    if kind is None or not isinstance(arguments, dict):
        raise ValueError(f"The prior {name!r} of {where} is not known; use one of {', '.join((*OURS, *KNOWN))}.")
    try:
        return kind(**{k: torch.tensor(to_float(v, "", f"{where}: {k}"), dtype=torch.float64) for k, v in arguments.items()})
    except TypeError as e:
        raise ValueError(f"The prior {name} of {where} does not take the arguments {', '.join(map(str, arguments))}.") from e


def link_to_plain(link: Link, where: str) -> dict[str, Any]:
    """A link as a mapping: what it is, and the priors and starts of its sites.

    Raises
    ------
    ValueError
        For a function of the user's own.
    """
    try:
        out = link.plain()
    except ValueError as e:
        raise ValueError(f"{where}: {e}") from e
    for key in ("prior", "coefficients"):
        if getattr(link, key, None) is not None:
            out[key] = prior_to_plain(getattr(link, key), where)
    start = getattr(link, "start", None)
    return out if start is None else out | {"start": start}


def link_from_plain(plain: Mapping[str, Any], made: Mapping[str, Any], where: str) -> Link:
    """The link that `link_to_plain` wrote; `made` are the components by name."""
    more = {k: prior_from_plain(plain[k], where) for k in ("prior", "coefficients") if k in plain}
    if "start" in plain:
        more["start"] = to_float(plain["start"], "", f"{where}: start")
    try:
        if "polynomial" in plain:
            return Polynomial(plain["polynomial"], **more)
        if "wavelength_spline" in plain:
            return WavelengthSpline(tuple(plain["wavelength_spline"]), **more)
        if "above" in plain:
            return Above(ref_from_plain(plain["above"], made, where), **more)
        if len(plain) == 1:
            return _expression(plain, made, where)
    except TypeError as e:
        raise ValueError(f"The link of {where} cannot be made: {e}") from e
    raise ValueError(f"The link of {where} is not known: {', '.join(map(str, plain))}.")


def _expression(plain: Any, made: Mapping[str, Any], where: str) -> Any:
    """Arithmetic: {operation: [arguments]}, a parameter's name, or a number."""
    if isinstance(plain, str):
        return ref_from_plain(plain, made, where)
    if not isinstance(plain, dict):
        return to_float(plain, "", where)
    ((operation, args),) = plain.items() if len(plain) == 1 else ((None, None),)
    unary = operation in ("exp", "log", "sqrt")
    if operation not in OPERATIONS or not isinstance(args, list) or len(args) != (1 if unary else 2):
        raise ValueError(
            f"The operation {operation!r} of {where} is not known, or has not the numbers that it takes; there are {', '.join(OPERATIONS)}."
        )
    return Expression(operation, tuple(_expression(a, made, where) for a in args))


def ref_from_plain(plain: Any, made: Mapping[str, Any], where: str) -> Ref:
    """A component's parameter, by its name."""
    owner, _, parameter = str(plain).rpartition(".")
    if owner not in made or parameter not in {s.name for s in made[owner].specs}:
        raise ValueError(f"{where} is shared with {plain!r}, which is not in the file.")
    return Ref(made[owner], parameter)
