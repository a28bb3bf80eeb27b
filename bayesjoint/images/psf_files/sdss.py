"""SDSS psField: eigenimages of a field, weighted by polynomials of the place; one HDU a band."""

from __future__ import annotations

from typing import Any

import numpy as np

from bayesjoint.images.files import Plane
from bayesjoint.images.psf import PSF
from bayesjoint.images.psf_field import PolynomialField
from bayesjoint.images.psf_files.base import PSFFile, planes_meant

__all__ = ["PsField"]

BANDS = ("u", "g", "r", "i", "z")
COLUMNS = {"RROWS", "RNROW", "RNCOL", "NROW_B", "NCOL_B", "C"}
UNIT_PX = 1000.0
"""Pixels that are a unit of row and column in the polynomials."""
FIELD = ((0.0, 2047.0), (0.0, 1488.0))
"""Columns and rows of a field."""


class PsField(PSFFile):
    """A ``psField`` file of SDSS's photo pipeline (Lupton et al. 2001, ASP Conf. 238, 269).

    Notes
    -----
    The PSF is sum_k [sum_ij (row / 1000)^i (column / 1000)^j C_k,ij] RROWS_k, divided by its sum,
    which makes it the effective PSF on the pixels of the field. SDSS sets the centre of the first
    pixel at 0.5; here, as in the astrometry.net code, it is 0: half a pixel changes the PSF by less
    than 1e-5 of itself.
    """

    kind = "SDSS psField"
    order = 78

    @classmethod
    def matches(cls, source: Any) -> bool:
        """Whether there is a table of eigenimages."""
        return any(_is_klc(p) for p in planes_meant(source))

    def read(self) -> PSF:
        """A varying PSF."""
        plane, band = self._plane()
        rows = plane.hdu.data
        columns = {n.upper(): n for n in rows.columns.names}
        total: dict[tuple[int, int], np.ndarray] = {}
        for row in rows:
            ny, nx, n_row, n_column = (
                int(row[columns[c]]) for c in ("RNROW", "RNCOL", "NROW_B", "NCOL_B")
            )
            image = np.asarray(row[columns["RROWS"]], dtype=float)
            c = np.asarray(row[columns["C"]], dtype=float).reshape(5, -1)
            if image.size != ny * nx or n_row > c.shape[0] or n_column > c.shape[1]:
                raise ValueError(
                    f"An eigenimage of psField must have RNROW x RNCOL = {ny} x {nx} samples and "
                    f"{n_row} x {n_column} coefficients; got {image.size} and {c.shape}. Fetch "
                    "the file anew."
                )
            for i in range(n_row):
                for j in range(n_column):
                    term = c[i, j] * image.reshape(ny, nx)
                    total[j, i] = total[j, i] + term if (j, i) in total else term
        powers = list(total)
        components = np.stack([total[p] for p in powers])
        self.say(
            f"SDSS psField, band {band}, {len(rows)} eigenimages, polynomial of degree "
            f"{max(max(p) for p in powers)} in row and column, pixel response included"
        )
        field = PolynomialField(components, powers, scale=(UNIT_PX, UNIT_PX), limits=FIELD)
        return self.varying(field, self.options.oversampling or (1.0, 1.0), "native")

    def _plane(self) -> tuple[Plane, str]:
        planes = [p for p in self.file.planes if _is_klc(p)]
        held = str(self.file.primary.header.get("FILTERS", "")).split() or list(BANDS)
        names = dict(zip(held, planes, strict=False)) if len(held) == len(planes) else {}
        band = self.options.band
        word = "" if band is None else band.strip().lower().removeprefix("sdss").strip("-_. ")
        word = word.removesuffix("'")
        named = self.file.named_plane()
        if named is not None:
            own = next((b for b, p in names.items() if p is named), None)
            if own is not None and word in names and word != own:
                self.say(
                    f"HDU {named.index} of a psField is of band {own}, and the image of band "
                    f"{word}; name HDU {names[word].index}, or none",
                    warning=True,
                )
            return named, own or f"of HDU {named.index}"
        if len(planes) == 1 and not names:
            return planes[0], f"of HDU {planes[0].index}"
        found = names.get(word)
        if found is None:
            choices = ", ".join(f"{b} [{p.index}]" for b, p in names.items())
            choices = choices or ", ".join(f"[{p.index}]" for p in planes)
            raise ValueError(
                f"The band of a psField file must be one of those that it holds; got {band!r}. "
                f"Give band=, or name the HDU after the path: {choices}."
            )
        return found, word


def _is_klc(plane: Plane) -> bool:
    names = getattr(getattr(plane.hdu, "columns", None), "names", None) or []
    return {n.upper() for n in names} >= COLUMNS
