"""Box: the pixels about one source in one image in which its core is drawn; they follow the source,
pixel by pixel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from bayesjoint.images import Frame, Image
from bayesjoint.scalar import Scalar

__all__ = ["Box", "Places"]


@dataclass(frozen=True)
class Places:
    """Where a box lies in an image: by slices where its place is known on the CPU, by indices where
    that would mean to wait for the device.
    """

    flat: torch.Tensor | None
    inside: torch.Tensor | None
    cut: tuple[tuple[slice, slice], tuple[slice, slice]] | None

    def seen_from(self, origin: tuple[int, int]) -> Places:
        """The same places in a part of the image that begins at a row and column."""
        if self.cut is None or origin == (0, 0):
            return self
        here, there = self.cut
        return Places(
            None,
            None,
            (
                tuple(slice(s.start - o, s.stop - o) for s, o in zip(here, origin, strict=True)),
                there,
            ),
        )

    def put(self, canvas: torch.Tensor, box: torch.Tensor, factor: torch.Tensor | None) -> None:
        """Add a box (..., n, n), times a factor, to a canvas (..., ny, nx) in place."""
        if self.cut is not None:
            here, there = self.cut
            part = box[(..., *there)]
            canvas[(..., *here)].add_(part if factor is None else part * factor)
            return
        weighted = box * (self.inside if factor is None else self.inside * factor)
        canvas.view(*canvas.shape[:-2], -1).index_add_(-1, self.flat, weighted.flatten(-2))

    def take(self, image: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
        """The image's pixels in a box of a shape, zero outside the image."""
        if self.cut is not None:
            here, there = self.cut
            box = image[here]
            if box.shape == shape:
                return box
            out = image.new_zeros(shape)
            out[there] = box
            return out
        return image.reshape(-1).index_select(0, self.flat).view(shape) * self.inside


class Box:
    """A box of pixels whose middle one holds the source, wherever that goes.

    Parameters
    ----------
    image : Image
        Where it lies.
    frame : Frame
        The scene's tangent plane.
    pixel : (float, float)
        Pixel (x, y) about which the map to the sky is taken as linear.
    jacobian : ndarray, shape (2, 2)
        Of that map, arcsec by pixel.
    shape : (int, int)
        Rows and columns; odd.
    """

    def __init__(
        self,
        image: Image,
        frame: Frame,
        pixel: tuple[float, float],
        jacobian: np.ndarray,
        shape: tuple[int, int],
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        def tensor(v: object) -> torch.Tensor:
            return torch.as_tensor(np.array(v), dtype=dtype).to(device)

        inverse = np.linalg.inv(jacobian)
        self.n, self.image_shape = shape, image.shape
        self.sky0, self.pixel0, self.inverse = (
            tensor(frame.to_sky(image.placement, *pixel)),
            tensor(pixel),
            tensor(inverse),
        )
        self.offsets = [torch.arange(n, device=device) - n // 2 for n in shape]
        self._numbers = (
            inverse.tolist(),
            self.sky0.tolist() if device.type == "cpu" else None,
            pixel,
        )

    def _where(self, p: torch.Tensor) -> tuple[Places, Sequence[Scalar]]:
        """Places of the box in the image, and the source's offset (x, y) in pixels from the middle
        of its middle pixel, without a graph.
        """
        if p.device.type != "cpu":
            flat, inside, offset = self._indices(p)
            return Places(flat, inside, None), offset.unbind()
        (a, b), (sx, sy), at = self._numbers
        x, y = p[:2].tolist()
        at = at[0] + a[0] * (x - sx) + a[1] * (y - sy), at[1] + b[0] * (x - sx) + b[1] * (y - sy)
        anchor = [min(max(round(v), -(10**9)), 10**9) if math.isfinite(v) else 10**9 for v in at]
        cut = []
        for n, size, c in zip(self.n, self.image_shape, anchor[::-1], strict=True):
            first = c - n // 2
            lo, hi = min(max(first, 0), size), min(max(first + n, 0), size)
            cut.append(
                (slice(lo, hi), slice(lo - first, hi - first))
                if hi > lo
                else (slice(0, 0), slice(0, 0))
            )
        return Places(None, None, ((cut[0][0], cut[1][0]), (cut[0][1], cut[1][1]))), (
            at[0] - anchor[0],
            at[1] - anchor[1],
        )

    def where(self, p: torch.Tensor) -> tuple[slice, slice] | None:
        """Rows and columns of the image in which the box lies; None where that would mean to wait
        for the device.
        """
        cut = self._where(p)[0].cut
        return None if cut is None else cut[0]

    def _indices(self, p: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Flat pixel indices of the box, which of them lie in the image, and the source's offset
        (x, y) in pixels, with its graph.
        """
        at = self.pixel0 + self.inverse @ (p[:2] - self.sky0)
        anchor = at.detach().round()
        (ny, nx), index = self.image_shape, anchor.clamp(-1e9, 1e9).long()
        rows, cols = index[1] + self.offsets[0], index[0] + self.offsets[1]
        inside = ((rows >= 0) & (rows < ny))[:, None] & ((cols >= 0) & (cols < nx))
        flat = (rows.clamp(0, ny - 1)[:, None] * nx + cols.clamp(0, nx - 1)).view(-1)
        return flat, inside, at - anchor
