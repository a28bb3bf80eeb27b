"""Approach: where free-form sources begin, by way of simpler ones that stand in for them and are fitted first."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from bayesjoint.infer.lm import levenberg_marquardt
from bayesjoint.scene.starts import linear_values
from bayesjoint.sky.components import relinked
from bayesjoint.sky.extended import Extended
from bayesjoint.sky.parameters import Ref

if TYPE_CHECKING:
    from bayesjoint.scene.scene import Scene

__all__ = ["approach"]

STEPS = 25
"""Iterations at most of the fit of stand-ins: it need not converge."""


def approach(scene: Scene, values: Mapping[str, float], *, prior: bool, report: Callable[[dict[str, Any]], None]) -> dict[str, float]:
    """Values to begin at: of a scene whose free-form sources are replaced by their stand-ins, taken over by them."""
    stands = {id(c): new for c in scene.components if isinstance(c, Extended) and (new := c.stand_in()) is not None and _own(scene, c)}
    if not stands:
        return dict(values)
    copies = {id(c): stands.get(id(c)) or copy.copy(c) for c in scene.components}
    relinked(copies)
    simple = scene._like(components=list(copies.values()), fixed=scene._held(), priors={})
    begin = linear_values(simple, {**simple.start, **{k: v for k, v in values.items() if k in simple.names}})[0]
    state = levenberg_marquardt(simple, simple.unconstrain(begin), prior=prior, max_iterations=STEPS, report=report)
    found = {k: float(v) for k, v in simple.constrain(state.z).items()}
    taken = {}
    for c in scene.components:
        if id(c) in stands:
            im = next(im for im in scene.images if c.sees(im))
            stand = stands[id(c)]
            own = c.take_over({s.name: simple.value(stand, s.name, im, found) for s in stand.specs})
            taken |= {f"{c.name}.{k}": v for k, v in own.items()}
    more = {k: v for k, v in {**found, **taken}.items() if k in scene.names}
    return linear_values(scene, {**values, **more})[0]


def _own(scene: Scene, c: Extended) -> bool:
    """Whether a source's own parameters are all free, without a word of the user's on where they begin."""
    own = [s for s in scene.layout.sites if s.component is c and s.spec.name in c.begin(1.0)]
    return bool(own) and all(s.start is None and s.default for s in own) and not any(isinstance(c.params.get(s.spec.name), Ref) for s in own)
