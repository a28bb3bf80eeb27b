"""Sky: profiles, sources, their parameters and priors."""

from bayesjoint.sky.components import Component, Point, Sersic, Sky, Source
from bayesjoint.sky.parameters import Param, Ref, Spec, start

__all__ = ["Component", "Param", "Point", "Ref", "Sersic", "Sky", "Source", "Spec", "start"]
