"""Blocks: columns of images that are zero outside a part of the image, and the sums of their products."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

__all__ = ["Block", "dense", "gram", "inside", "overlap", "part", "products", "total"]

Where = tuple[slice, slice]


@dataclass
class Block:
    """Columns (m, h, w) of an image's pixels in a part of it; `rows` are their places among all columns."""

    rows: list[int]
    where: Where
    values: torch.Tensor


def overlap(a: Where, b: Where) -> Where | None:
    """The part that two parts of an image have in common; None if there is none."""
    cut = tuple(slice(max(x.start, y.start), min(x.stop, y.stop)) for x, y in zip(a, b, strict=True))
    return cut if all(s.stop > s.start for s in cut) else None


def inside(where: Where, place: Where) -> Where:
    """A part of the image, seen from a larger one that holds it."""
    return tuple(slice(a.start - b.start, a.stop - b.start) for a, b in zip(where, place, strict=True))


def part(block: Block, where: Where) -> torch.Tensor:
    """Columns of a block in a part of its own part, shape (m, pixels)."""
    if where == block.where:
        return block.values.flatten(1)
    rows, cols = inside(where, block.where)
    return block.values[:, rows, cols].flatten(1)


def gram(first: Sequence[Block], second: Sequence[Block], out: torch.Tensor) -> None:
    """Sums over pixels of the products of columns, written into a matrix (n, n) and its transpose; parts apart cost nothing."""
    for i, a in enumerate(first):
        for b in second[i:] if second is first else second:
            where = overlap(a.where, b.where)
            if where is None:
                continue
            h = part(a, where) @ part(b, where).T
            out[torch.tensor(a.rows)[:, None], torch.tensor(b.rows)] = h
            if b is not a:
                out[torch.tensor(b.rows)[:, None], torch.tensor(a.rows)] = h.T


def products(blocks: Sequence[Block], image: torch.Tensor, out: torch.Tensor) -> None:
    """Sums over pixels of each column times an image (ny, nx), written into a vector (n,)."""
    for b in blocks:
        out[b.rows] = b.values.flatten(1) @ image[b.where].reshape(-1)


def total(blocks: Sequence[Block], amplitudes: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    """Add the columns times their amplitudes to an image (ny, nx), in place."""
    for b in blocks:
        out[b.where] += (amplitudes[b.rows] @ b.values.flatten(1)).view(b.values.shape[1:])
    return out


def dense(blocks: Sequence[Block], count: int, shape: tuple[int, int], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """All columns over the whole image, shape (count, ny * nx)."""
    out = torch.zeros(count, *shape, dtype=dtype, device=device)
    for b in blocks:
        for m, row in enumerate(b.rows):
            out[row][b.where] = b.values[m]
    return out.view(count, -1)
