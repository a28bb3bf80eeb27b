"""Groups: components that belong together, such as the parts of one galaxy, under one name."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

from bayesjoint.sky.components import Component, relinked

__all__ = ["Group", "flattened"]


class Group:
    """Components of one object: ``bj.Group("object 1", [bulge, disc])`` has the sites ``object 1.bulge.n`` and so on. Groups nest.

    In a scene its members carry the group's name before their own: ``scene.subset(components="object 1")`` is the part of a scene with
    this group alone. Links to members stay as they are, from inside and outside.

    Parameters
    ----------
    name : str
        Unique among a scene's groups and components.
    members : sequence of components and groups
    """

    def __init__(self, name: str, members: Sequence[Component | Group] | Component | Group) -> None:
        self.name = Component(name).name  # the same rules
        self.members = (members,) if isinstance(members, Component | Group) else tuple(members)
        if not self.members:
            raise ValueError(f"The group {name!r} needs at least one component, and none came.")
        for m in self.members:
            if not isinstance(m, Component | Group):
                raise TypeError(f"The members of the group {name!r} are to be components such as bj.Sersic('bulge'), or groups, and {m!r} came.")

    def __iter__(self) -> Iterator[Component | Group]:
        return iter(self.members)

    def __getitem__(self, name: str) -> Component | Group:
        for m in self.members:
            if m.name == name:
                return m
        raise KeyError(f"The group {self.name!r} has no member {name!r}; it has {', '.join(m.name for m in self.members)}.")

    def __repr__(self) -> str:
        return f"Group({self.name!r}, {list(self.members)!r})"


def flattened(components: Sequence[Any]) -> list[Any]:
    """Components one by one: members of groups as copies that carry the groups' names, links following them; all else as it is."""
    if not any(isinstance(c, Group) for c in components):
        return list(components)
    copies: dict[int, Component] = {}

    def walk(items: Sequence[Any], prefix: str) -> Iterator[Any]:
        for item in items:
            if isinstance(item, Group):
                yield from walk(item.members, f"{prefix}{item.name}.")
            elif isinstance(item, Component):
                if id(item) in copies:
                    raise ValueError(f"{item!r} is in the scene twice: make another component, with parameters shared by x={item.name}.x and so on.")
                copies[id(item)] = new = copy.copy(item)
                new.name = prefix + item.name
                yield new
            else:
                yield item  # refused later, in words

    out = list(walk(components, ""))

    relinked(copies)
    return out
