"""Every public name says what it is, what it takes, and in which units."""

import inspect
import re
from functools import cached_property

import pytest

import bayesjoint as bj
from bayesjoint import calibrate, examples, images, noise, plots, report
from bayesjoint.images.readers import read
from bayesjoint.infer.evidence import Evidence
from bayesjoint.infer.fit import Fit
from bayesjoint.infer.laplace import laplace
from bayesjoint.infer.nuts import nuts
from bayesjoint.infer.profile import Profile
from bayesjoint.infer.residuals import Residuals
from bayesjoint.infer.svi import svi
from bayesjoint.infer.warnings import FitWarning
from bayesjoint.posterior.check import Check
from bayesjoint.posterior.compare import Comparison
from bayesjoint.posterior.loo import Loo
from bayesjoint.posterior.pointwise import blocks
from bayesjoint.sky.components import Component
from bayesjoint.sky.shapes import Shape

ROOMS = (bj, plots, calibrate, noise, examples, images, report)
RESULTS = (Fit, FitWarning, Profile, Residuals, Evidence, Check, Comparison, Loo)
"""Classes that users hold without having made them."""
DIMENSIONAL = re.compile(
    r"(^|_)(flux|fwhm|radius|r_eff|size|width|shift|shifts|dx|dy|x|y|angle|pa|scale|wavelength|wavelengths|zeropoint|sigma|variance|ivar|epoch|position"
    r"|center|centroid|origin|window|motion|knots|gain|memory|values|errors|covariance|residuals|residual|render|render_components|simulate|model_images|light|light_curve"
    r"|table|draws_of|theta|middle|lost_light|chi2|scatter|extent|start|level|slope)(_|$)"
)
"""Names of what has a unit, or what is told in some unit."""
UNITS = re.compile(
    r"arcsec|degree|\bdeg\b|radian|nJy|\bmag\b|[Mm]agnitude|[Mm]icron|[Ii]mage'?s?'?s?(?: own)? units?|\bunits? of\b|'s(?: own)? unit|\b(?:its|their) units?\b|[Pp]ixel|\bpx\b|MJD|days?\b|\bdate"
    r"|[Ee]lectron|\bsigma\b|σ|megabyte|no unit|no dimension|[Pp]robabilit|astropy.*units|with units"
)
PLAIN = {
    "memory": "[Mm]egabyte|MB",
    "level": "[Pp]robabilit|units",
    "gain": "lectron",
    "wavelength": "icron",
    "zeropoint": "mag|Mag",
    "fwhm": "arcsec|pixel",
}
"""Names whose unit can be one thing alone."""
OBVIOUS = {"self", "cls", "path", "overwrite", "progress", "name", "params"}
"""What needs no word in a method."""


def public():
    seen = set()
    for room in ROOMS:
        for name in room.__all__:
            thing = getattr(room, name)
            if id(thing) not in seen and not inspect.ismodule(thing):
                seen.add(id(thing))
                yield f"{room.__name__}.{name}", thing
    yield from ((f"{k.__module__}.{k.__name__}", k) for k in RESULTS)


def callables():
    """Functions and classes, and methods and properties of classes, ours alone, each where it was made."""
    for name, thing in public():
        yield name, thing
        for base in inspect.getmro(thing) if inspect.isclass(thing) else ():
            for n, m in vars(base).items() if base.__module__.startswith("bayesjoint") else ():
                m = getattr(m, "__func__", m)
                if not n.startswith("_") and (
                    (inspect.isfunction(m) and m.__module__ == base.__module__) or isinstance(m, property | cached_property)
                ):
                    yield f"{base.__module__}.{base.__name__}.{n}", m


CALLABLES = dict(callables())
SAMPLERS = {f"{m.__module__}.{m.__name__}": m for m in (laplace, svi, nuts)}
KNOWN = CALLABLES | SAMPLERS | {"bayesjoint.images.readers.read": read, "bayesjoint.posterior.pointwise.blocks": blocks}
"""What docstrings may send a reader to."""


def text(thing):
    """The docstring, or that of what it says to see."""
    doc = inspect.getdoc(thing) or ""
    for seen in re.findall(r"[Ss]ee `([\w.]+)`", doc):
        room, name = ("bayesjoint." + seen.removeprefix("bayesjoint.")).rsplit(".", 1)
        doc += "\n" + next((inspect.getdoc(m) or "" for n, m in KNOWN.items() if f".{n}".endswith(f".{room.removeprefix('bayesjoint.')}.{name}")), "")
    return doc


def parameters(thing):
    signature = inspect.signature(thing)
    return [p.name for p in signature.parameters.values() if p.name not in OBVIOUS]


def entry(doc, name):
    """What a docstring's section of parameters or attributes says of one; None where it has no entry."""
    found = re.search(rf"^(?:[\w*]+, )*\*{{0,2}}{name}(?:, [\w*]+)* ?(?::|$)(.*(?:\n[ \t]+.*)*)", doc, re.M)
    return found and found.group(0)


def lacking(thing):
    """Parameters that a docstring does not explain, and those that it names no unit of."""
    doc = text(thing)
    unsaid = [p for p in parameters(thing) if not re.search(rf"\b{p}\b", doc)]
    return unsaid, [p for p in parameters(thing) if DIMENSIONAL.search(p) and not re.search(PLAIN.get(p, UNITS), entry(doc, p) or doc)]


def made_by_users(cls):
    """Whether a class is made by its own name, and is no component, whose parameters are in its specs."""
    return not issubclass(cls, Component | Shape) and cls not in (*RESULTS, bj.Posterior, calibrate.Verdict) and cls.__init__ is not object.__init__


TAKE = [n for n, t in CALLABLES.items() if (made_by_users(t) if inspect.isclass(t) else inspect.isfunction(t))]
GIVE = [n for n, t in CALLABLES.items() if not inspect.isclass(t) and DIMENSIONAL.search(n.rsplit(".", 1)[1])]
MADE_OF = {n: t for n, t in public() if inspect.isclass(t) and issubclass(t, Component | Shape)}


@pytest.mark.parametrize("name", CALLABLES)
def test_it_has_a_docstring(name):
    assert len(text(CALLABLES[name]).split()) >= 2


@pytest.mark.parametrize("name", [n for n, t in CALLABLES.items() if isinstance(t, property | cached_property)])
def test_a_property_begins_with_a_sentence(name):
    """Sphinx takes what stands before a colon there for a type."""
    assert ": " not in inspect.getdoc(CALLABLES[name]).splitlines()[0]


@pytest.mark.parametrize("name", TAKE)
def test_every_parameter_is_explained_and_has_its_unit(name):
    unsaid, bare = lacking(CALLABLES[name])
    assert not unsaid, f"{name} does not say what {', '.join(unsaid)} is"
    assert not bare, f"{name} names no unit of {', '.join(bare)}"


@pytest.mark.parametrize("name", GIVE)
def test_what_comes_back_has_its_unit(name):
    assert UNITS.search(text(CALLABLES[name])), f"{name} names no unit of what it gives"


@pytest.mark.parametrize("cls", (*RESULTS, bj.Posterior, calibrate.Calibration), ids=lambda c: c.__name__)
def test_attributes_have_their_units(cls):
    doc = inspect.getdoc(cls)
    for attribute in ", ".join(re.findall(r"^(\w+(?:, \w+)*) :", doc, re.M)).split(", "):
        assert not DIMENSIONAL.search(attribute) or UNITS.search(entry(doc, attribute)), f"{cls.__name__}.{attribute} has no unit"


@pytest.mark.parametrize("name", MADE_OF)
def test_a_component_says_its_parameters_and_their_units(name):
    cls = MADE_OF[name]
    doc = inspect.getdoc(cls)
    for spec in cls.specs:
        said = entry(doc, spec.name)
        assert said, f"{name} does not explain {spec.name}"
        unit = {"deg": "degree", "flux": "nJy", "image": "image units", "": "no unit"}.get(spec.unit, spec.unit)
        assert unit in said, f"{name} does not say that {spec.name} is in {unit}"
    unsaid = [p for p in inspect.signature(cls).parameters if p != "params" and not re.search(rf"\b{p}\b", doc)]
    assert not unsaid, f"{name} does not say what {', '.join(unsaid)} is"


def test_what_is_missing_is_seen():
    def bare(fwhm, beta):
        """A width.

        Parameters
        ----------
        fwhm : float
            Of the PSF.
        """

    def said(fwhm, beta):
        """A width.

        Parameters
        ----------
        fwhm, beta : float
            Width in arcsec, and power of the wings.
        """

    assert lacking(bare) == (["beta"], ["fwhm"])
    assert lacking(said) == ([], [])


def test_a_docstring_of_another_form_is_left_as_it_is():
    docs = "A ring.\n\nParameters\n==========\nnone", "A ring.\n\nParameters\n---------- \nnone", "A ring.\n\nParameters\nnone", None
    for doc in docs:
        made = type("Ring", (bj.Gaussian,), {"__doc__": doc})
        assert made.__doc__ == (doc and inspect.cleandoc(doc))
    type("Bend", (bj.Shape,), {"__doc__": "A bend.", "specs": property(lambda self: ())})
