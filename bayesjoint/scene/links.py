"""Links: the values that follow from sites and constants, and how they change with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from bayesjoint.scalar import columns_of
from bayesjoint.sky.parameters import Link, Spec

__all__ = ["Block", "Links", "minus", "moving", "scaled", "through", "wave"]

Rule = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Block:
    """Values that one rule makes.

    Attributes
    ----------
    rule : callable
        From inputs (k,) to values (m,), differentiable.
    inputs : sequence of int
        Their places in the full vector: sites, constants, and what earlier blocks made.
    count : int
        m.
    affine : bool
        Whether the values are linear in the inputs, but for constants.
    """

    rule: Rule
    inputs: tuple[int, ...]
    count: int
    affine: bool


class Links:
    """All blocks of a layout, on a dtype and device.

    Parameters
    ----------
    blocks : sequence of Block
        In an order in which each can be made.
    sites, count : int
        Sites of the scene, the first of the full vector; and sites with constants.

    Attributes
    ----------
    feeds : list of set
        For each place of the full vector, which sites and constants it depends on.
    """

    def __init__(self, blocks: Sequence[Block], sites: int, count: int, device: torch.device) -> None:
        self.blocks, self.sites = list(blocks), sites
        self.feeds: list[set[int]] = [{k} for k in range(count)]
        for block in self.blocks:
            self.feeds += [set().union(*(self.feeds[i] for i in block.inputs))] * block.count
        self.inputs = [torch.tensor(b.inputs, dtype=torch.int64, device=device) for b in self.blocks]

    def __bool__(self) -> bool:
        return bool(self.blocks)

    def extend(self, base: torch.Tensor) -> torch.Tensor:
        """Sites and constants, and after them all that follows from them; keeps the graph."""
        for block, inputs in zip(self.blocks, self.inputs, strict=True):
            base = torch.cat([base, block.rule(base.index_select(0, inputs)).to(base.dtype)])
        return base

    def slopes(self, base: torch.Tensor) -> torch.Tensor:
        """Derivatives of `extend` by the sites, shape (full, sites)."""
        whole, made = base.detach(), base.new_zeros(len(base) + sum(b.count for b in self.blocks), self.sites)
        made[: self.sites].fill_diagonal_(1.0)
        for block, inputs in zip(self.blocks, self.inputs, strict=True):  # block by block: each has few inputs, the sites may be many
            value, by = columns_of(block.rule, whole.index_select(0, inputs))
            made[len(whole) : len(whole) + block.count] = by.T.to(made.dtype) @ made.index_select(0, inputs)
            whole = torch.cat([whole, value.to(whole.dtype)])
        return made

    def pulled(self, base: torch.Tensor, grad: torch.Tensor) -> torch.Tensor:
        """Gradient by the sites of what has the gradient `grad` by the whole vector."""
        with torch.enable_grad():
            theta = base[: self.sites].detach().requires_grad_(True)
            whole = self.extend(torch.cat([theta, base[self.sites :].detach()]))
            return torch.autograd.grad(whole, theta, grad)[0]

    def steady(self, wanted: Sequence[int], consumed: Sequence[int]) -> list[int]:
        """Those of the `wanted` sites that everything depends on through affine blocks alone, none of them in what is `consumed` otherwise.

        Parameters
        ----------
        consumed : sequence of int
            Places in the full vector on which images do not depend linearly.
        """
        bent = [i for block in self.blocks if not block.affine for i in block.inputs]
        bent = set().union(*(self.feeds[i] for i in (*bent, *consumed)))
        return [k for k in wanted if k not in bent]


# -- rules ----------------------------------------------------------------------------------------------------------------
def minus(x: torch.Tensor) -> torch.Tensor:
    """The first half less the second: a source's place in an image whose pixels are shifted."""
    first, second = x.chunk(2)
    return first - second


def moving(years: Sequence[float]) -> Rule:
    """The first half plus the second times so many years: a place at an image's epoch."""
    spans = torch.tensor(list(years), dtype=torch.float64)

    def rule(x: torch.Tensor) -> torch.Tensor:
        first, second = x.chunk(2)
        return first + second * spans.to(x)

    return rule


def scaled(x: torch.Tensor) -> torch.Tensor:
    """The first half times 10^(0.4 of the second): a flux in an image whose zeropoint is off by so many magnitudes."""
    first, second = x.chunk(2)
    return first * torch.pow(10.0, 0.4 * second)


def wave(basis: Any, valued: Sequence[bool], transform: torch.distributions.Transform | None) -> Rule:
    """A function of wavelength: T(B T^-1(inputs)), where those inputs that are `valued` are in the parameter's own unit, the others past T^-1."""
    matrix = torch.as_tensor(basis, dtype=torch.float64)
    flags = torch.tensor(list(valued))

    def rule(x: torch.Tensor) -> torch.Tensor:
        m = matrix.to(x)
        if transform is None:
            return m @ x
        here = flags.to(x.device)
        safe = torch.where(here, x, transform(torch.zeros((), dtype=x.dtype, device=x.device)))  # no NaN in the branch not taken
        return transform(m @ torch.where(here, transform.inv(safe), x))

    return rule


def through(link: Link, spec: Spec) -> Rule:
    """What a link makes of its inputs, one by one, for a parameter of this spec."""

    def rule(x: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(link.value(list(x.unbind()), spec), dtype=x.dtype, device=x.device).reshape(1)

    return rule
