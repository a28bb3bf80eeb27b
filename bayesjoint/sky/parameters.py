"""Parameters of a component: what a spec says of one, and the ways in which a user may give it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import torch

from bayesjoint.units import to_float

if TYPE_CHECKING:
    from bayesjoint.sky.components import Component

__all__ = ["Link", "Param", "Ref", "Spec", "as_param", "documented", "start"]

Per = Literal["scene", "band", "image"]


@dataclass(frozen=True)
class Spec:
    """What one parameter of a component is.

    Parameters
    ----------
    name, unit, doc : str
        The name, the unit ("arcsec", "deg", "flux", "image", or "" for none), and a line on its meaning.
    per : {"scene", "band", "image"}
        What it is shared by, unless the user says otherwise.
    bounds : (float, float)
        Values within which the parameter has a meaning; starts are clipped to them.
    prior : (str, float, float), optional
        Default prior: ("normal", mean, standard deviation) or ("lognormal", median, standard deviation of the logarithm).
        None: from the scene's geometry and noise (`bayesjoint.sky.defaults`).
    guess : float, optional
        Where a fit begins: for a length, in half-light radii of the light found there. None: the prior's median (a length: 1).
    cyclic : bool
        Whether it is an angle of period 180 degrees.
    """

    name: str
    unit: str
    doc: str
    per: Per = "scene"
    bounds: tuple[float, float] = (-float("inf"), float("inf"))
    prior: tuple[str, float, float] | None = None
    guess: float | None = None
    cyclic: bool = False

    def possible(self, value: float) -> bool:
        """Whether a value means anything: sizes, indices and axis ratios are positive, the latter at most 1."""
        return (self.bounds[0] < 0 or value > 0) and (self.bounds[1] != 1.0 or value <= 1.0)

    @property
    def real(self) -> bool:
        """Whether it may have any real value."""
        return self.bounds[0] < 0

    @property
    def words(self) -> str:
        """Its unit as the user's numbers are read in."""
        return {"flux": "nJy", "image": "image units"}.get(self.unit, self.unit)

    @property
    def entry(self) -> str:
        """What a docstring says of it."""
        unit = {"flux": "nJy (image units without a zeropoint)", "image": "image units per pixel", "deg": "degree", "": "no unit"}.get(self.unit, self.unit)
        lo, hi = self.bounds
        bounds = f", {lo:g} to {hi:g}" if 0 < hi < float("inf") and self.unit == "" else ""
        shared = "" if self.per == "scene" else f", one {'a' if self.per == 'band' else 'an'} {self.per}"
        return f"{self.name} : {unit}{bounds}\n    {self.doc[:1].upper()}{self.doc[1:]}{shared}."


def documented(doc: str | None, specs: Sequence[Spec], before: str = "", behind: str = "") -> str | None:
    """A docstring with an entry for each parameter, others before and behind them; what has its own already stays as it is."""
    if not doc or not isinstance(specs, Sequence):  # some make theirs for each object
        return doc
    doc = inspect.cleandoc(doc)
    rows = [s.entry for s in specs if not re.search(rf"^(\w+, )*{s.name}(, \w+)* :", doc, re.M)]
    if not rows:
        return doc
    if "\n\nParameters\n" not in doc:
        return "\n".join([doc, "", "Parameters", "----------", *filter(None, [before, *rows, behind])])
    parts = re.fullmatch(r"(.*\n\nParameters\n-+\n)(.*?)((?:\n\*\*params.*)?(?:\n\n.*)?)", doc, re.S)
    if parts is None:  # not as numpydoc has it: the author's own
        return doc
    head, section, rest = parts.groups()
    return head + "\n".join([section, *rows]) + rest


class Arithmetic:
    """What may be added, multiplied and so on, to make an `Expression`."""

    def _made(self, operation: str, *args: Any) -> Any:
        from bayesjoint.sky.links import Expression

        for a in args:
            if not isinstance(a, Arithmetic | int | float) or isinstance(a, bool):
                raise TypeError(f"Parameters are to be combined with numbers and parameters, and {a!r} came.")
        return Expression(operation, args)

    def __add__(self, other: Any) -> Any:
        return self._made("add", self, other)

    def __radd__(self, other: Any) -> Any:
        return self._made("add", other, self)

    def __sub__(self, other: Any) -> Any:
        return self._made("sub", self, other)

    def __rsub__(self, other: Any) -> Any:
        return self._made("sub", other, self)

    def __mul__(self, other: Any) -> Any:
        return self._made("mul", self, other)

    def __rmul__(self, other: Any) -> Any:
        return self._made("mul", other, self)

    def __truediv__(self, other: Any) -> Any:
        return self._made("div", self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return self._made("div", other, self)

    def __pow__(self, other: Any) -> Any:
        return self._made("pow", self, other)

    def __neg__(self) -> Any:
        return self._made("mul", -1.0, self)

    def exp(self) -> Any:
        """Its exponential."""
        return self._made("exp", self)

    def log(self) -> Any:
        """Its natural logarithm."""
        return self._made("log", self)

    def sqrt(self) -> Any:
        """Its square root."""
        return self._made("sqrt", self)


class Link(Arithmetic):
    """A parameter that follows from sites of its own, other parameters, or an image's wavelength; see `bayesjoint.sky.links`."""

    def own(self, spec: Spec) -> list[tuple[Spec, Param]]:
        """Specs of the sites that it brings, for a parameter of this spec."""
        return []

    def refs(self) -> list[Ref]:
        """Parameters that it reads."""
        return []

    def rebuilt(self, change: Callable[[Ref], Ref]) -> Link:
        """The same link on other components' parameters, each what `change` makes of the one before."""
        return self

    def value(self, values: Sequence[torch.Tensor], spec: Spec) -> torch.Tensor:
        """The parameter of a spec, in its unit, from `values`: those of its own sites and then of those that it reads."""
        raise NotImplementedError

    def is_affine(self, spec: Spec) -> bool:
        """Whether that is a linear function of its inputs, but for a constant, for a parameter of `spec`."""
        return False

    def plain(self) -> dict[str, Any]:
        """What it is, without priors and starts, as plain text and numbers.

        Raises
        ------
        ValueError
            If it cannot be written.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Ref(Arithmetic):
    """A parameter of a component, to be shared: ``bj.Exponential("disc", x=bulge.x)`` makes it the very same site.

    Parameters
    ----------
    component : Component
        Whose it is.
    name : str
        Of the parameter.
    """

    component: Component
    name: str

    def __repr__(self) -> str:
        return f"{self.component.name}.{self.name}"


@dataclass(frozen=True)
class Param:
    """How a parameter is given: a prior, a start, what it is shared by, or a fixed value.

    Parameters
    ----------
    prior : Pyro distribution, optional
        Prior of each site, in the parameter's unit (arcsec, degree, nJy). None: the default, which depends on geometry and noise alone.
    start : float or Quantity, optional
        Where a fit begins, in the parameter's unit. None: read from the pixels.
    per : {"scene", "band", "image"}, optional
        One site for the scene, for each band, or for each image. None: the parameter's own default.
    value : float or Quantity, optional
        Hold the parameter at this value, in its unit.

    Raises
    ------
    TypeError, ValueError
        For a prior that is no distribution of one number, a prior beside a value, or an unknown `per`.
    """

    prior: Any = None
    start: Any = None
    per: Per | None = None
    value: Any = None

    def __post_init__(self) -> None:
        if self.prior is not None:
            if not isinstance(self.prior, torch.distributions.Distribution):
                raise TypeError(f"A prior is to be a Pyro distribution such as pyro.distributions.Normal(0, 1), and {self.prior!r} came.")
            if tuple(self.prior.batch_shape) or tuple(self.prior.event_shape):
                raise ValueError(
                    f"A prior is to be of one number, and {self.prior!r} is of shape {tuple(self.prior.batch_shape + self.prior.event_shape)}."
                )
            if self.value is not None:
                raise ValueError("A parameter is either held at a value or has a prior, and both came.")
        if self.per not in (None, "scene", "band", "image"):
            raise ValueError(f"per is to be 'scene', 'band' or 'image', and {self.per!r} came.")


def start(value: Any) -> Param:
    """Keep a parameter's default prior and start the fit elsewhere: ``r_eff=bj.start(0.8 * u.arcsec)``.

    Parameters
    ----------
    value : float or Quantity
        A number is in the parameter's unit: arcsec, degree, nJy (or image units).

    Returns
    -------
    Param
    """
    return Param(start=value)


def as_param(given: Any, spec: Spec, where: str) -> Param | Ref | Link:
    """Turn what the user gave for a parameter into a `Param`, `Ref` or `Link`, with numbers in the spec's unit."""
    if isinstance(given, Link) and getattr(given, "start", None) is not None:
        return replace(given, start=to_float(given.start, spec.words, where))
    if isinstance(given, Ref | Link):
        return given
    if isinstance(given, torch.distributions.Distribution):
        return Param(prior=given)
    unit = spec.words
    if isinstance(given, Param):
        value = None if given.value is None else to_float(given.value, unit, where)
        begin = None if given.start is None else to_float(given.start, unit, where)
        return Param(prior=given.prior, start=begin, per=given.per, value=value)
    if isinstance(given, str | bool) or callable(given):
        raise TypeError(
            f"{where} is to be a prior, a number, another component's parameter, arithmetic on such, or bj.Param(...), and {given!r} came."
        )
    return Param(value=to_float(given, unit, where))
