"""Blocks: columns of images that are zero outside a part of the image, and the sums of their products."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

__all__ = ["Block", "dense", "gram", "inside", "overlap", "part", "products", "total", "trimmed"]

Where = tuple[slice, slice]


@dataclass
class Block:
    """Columns (m, h, w) of an image's pixels in a part of it; `rows` are their places among all columns."""

    rows: list[int]
    where: Where
    values: torch.Tensor

    @property
    def places(self) -> slice | torch.Tensor:
        """`rows`, as what indexes fastest."""
        first, last = self.rows[0], self.rows[-1]
        return slice(first, last + 1) if last - first == len(self.rows) - 1 else torch.tensor(self.rows)


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


def trimmed(block: Block, tail: float) -> Block:
    """A copy of a block's middle: beyond each edge of it no column has more than `tail` of its sum of squares.

    A column's sum of squares then changes by at most four `tail` of it; a product with another column, by twice the root of that at most, in
    units of both their lengths.
    """
    squares, cut = block.values.square(), []
    for place, across in zip(block.where, (2, 1), strict=True):
        share = squares.sum(across).numpy(force=True)  # a few hundred numbers: numpy sums them up many times as fast as torch
        share = share / np.maximum(share.sum(1, keepdims=True), np.finfo(share.dtype).tiny)
        before, after = (int((part.cumsum(1).max(0) <= tail).sum()) for part in (share, share[:, ::-1]))
        first = place.start + before
        cut.append(slice(first, max(place.stop - after, first)))
    where = cut[0], cut[1]
    rows, cols = inside(where, block.where)
    return Block(block.rows, where, block.values[:, rows, cols].clone())


def gram(first: Sequence[Block], second: Sequence[Block], out: torch.Tensor) -> None:
    """Sums over pixels of the products of columns, written into a matrix (n, n) and its transpose; parts apart cost nothing."""
    for i, j, where in _meeting(first, second):
        if second is first and j < i:
            continue
        a, b = first[i], second[j]
        h = part(a, where) @ part(b, where).T
        _put(out, a.places, b.places, h)
        if b is not a:
            _put(out, b.places, a.places, h.T)


def _meeting(first: Sequence[Block], second: Sequence[Block]) -> Iterator[tuple[int, int, Where]]:
    """Pairs of blocks whose parts of the image overlap, and where."""
    a, b = (np.array([[(s.start, s.stop) for s in block.where] for block in blocks]).reshape(-1, 2, 2) for blocks in (first, second))
    low, high = np.maximum(a[:, None, :, 0], b[None, :, :, 0]), np.minimum(a[:, None, :, 1], b[None, :, :, 1])
    for i, j in np.argwhere((low < high).all(-1)).tolist():
        yield i, j, (slice(int(low[i, j, 0]), int(high[i, j, 0])), slice(int(low[i, j, 1]), int(high[i, j, 1])))


def _put(out: torch.Tensor, rows: slice | torch.Tensor, columns: slice | torch.Tensor, values: torch.Tensor) -> None:
    """Write a part of a matrix."""
    crossed = isinstance(rows, torch.Tensor) and isinstance(columns, torch.Tensor)
    out[rows[:, None] if crossed else rows, columns] = values


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
