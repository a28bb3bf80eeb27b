"""PSFEx: polynomials of the place on a CCD, one CCD a file, an extension or a row of a table."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from bayesjoint.images.files import Plane, tags
from bayesjoint.images.psf import PSF
from bayesjoint.images.psf_field import PolynomialField
from bayesjoint.images.psf_files.base import PSFFile, planes_meant
from bayesjoint.images.psf_files.sampling import in_words

__all__ = ["PSFEx"]

LABELS = ("CCDNAME", "EXPNUM", "FILTER", "CAMERA")
"""Columns of Legacy Surveys' tables that name a row."""
MARGIN = 0.6
"""Half the range of places, in units of POLSCAL, for which a polynomial is trusted: PSFEx scales by
the range of its stars, and CCDs reach a little beyond them."""


class PSFEx(PSFFile):
    """A ``.psf`` file of PSFEx (Bertin 2011, ASP Conf. 442, 435), or a table of several CCDs.

    Notes
    -----
    The samples are the sum of u^i v^j C over the terms with i + j <= degree, the powers i of
    u = (x - POLZERO1) / POLSCAL1 running fastest; x and y count from 1. PSF_SAMP is the size of a
    sample in image pixels, and may be above 1. The pixel's response is in it.
    """

    kind = "PSFEx"
    order = 80

    @classmethod
    def matches(cls, source: Any) -> bool:
        """Whether there is a table with a column PSF_MASK."""
        return any(_is_psfex(p) for p in planes_meant(source))

    def read(self) -> PSF:
        """A varying PSF, or one for all places where it does not vary."""
        plane = self._plane()
        rows = plane.hdu.data
        if rows is None or not len(rows):
            raise ValueError(
                f"A PSFEx table must have a row with a PSF; {plane.tag} has none. Give another "
                "file."
            )
        columns = {n.upper(): n for n in rows.columns.names}
        merged = "POLDEG1" in columns or "PSF_SAMP" in columns
        k = self._row(rows, columns) if merged or len(rows) > 1 else 0
        values: Mapping[str, Any] = plane.header
        if merged:
            values = {n: _plain(rows[c][k]) for n, c in columns.items()}
        label = _label(values) if merged else ""
        mask = np.asarray(rows[columns["PSF_MASK"]][k], dtype=float)
        return self._psf(mask, values.get, f" of {label}" if label else "")

    def _plane(self) -> Plane:
        found = [p for p in planes_meant(self.file) if _is_psfex(p)]
        chip = self.options.chip
        if len(found) > 1 and chip is not None:
            by_name = [p for p in found if p.name == str(chip).strip().upper()]
            number = _whole(chip)
            if not by_name and number is not None and 1 <= number <= len(found):
                by_name = [found[number - 1]]
                self.say(f"chip {number} is its table number {number}, {by_name[0].tag}")
            found = by_name or found
        if len(found) > 1:
            raise ValueError(
                "Which CCD is meant must be said where a PSFEx file has several; got "
                f"chip={chip!r} and {len(found)} tables: {tags(found)}. Give chip=1 to "
                f"{len(found)}, or name one after the path, as in file.psf{found[0].tag}."
            )
        return found[0]

    def _row(self, rows: Any, columns: dict[str, str]) -> int:
        chip = self.options.chip
        keys = [n for n in LABELS if n in columns]
        names = [{n: str(_plain(r[columns[n]])).strip() for n in keys} for r in rows]
        names = names if keys else [{"row": str(k + 1)} for k in range(len(rows))]
        if chip is None:
            found = list(range(len(rows)))
        else:
            parts = chip if isinstance(chip, list | tuple) else [chip]
            text = " ".join(str(p) for p in parts)
            wanted = {w.upper() for w in text.replace("/", " ").replace(",", " ").split()}
            found = [
                k
                for k, row in enumerate(names)
                if wanted and wanted <= {v.upper() for v in row.values()}
            ]
        if len(found) != 1:
            shown_names = ["/".join(r.values()) for r in names]
            most = ", ".join(shown_names[:8]) + (", …" if len(names) > 8 else "")
            raise ValueError(
                f"chip must name one of the {len(names)} CCDs of a PSFEx table; got {chip!r}, "
                f"which names {len(found)}. Give one of: {most}."
            )
        return found[0]

    def _psf(self, mask: np.ndarray, get: Callable[..., Any], of: str) -> PSF:
        samp = _number(get, "PSF_SAMP", of)
        if not samp > 0:
            raise ValueError(
                f"PSF_SAMP{of} must be a positive number of image pixels per sample; got "
                f"{samp!r}. Give another file: PSFEx failed on this CCD."
            )
        sampling = self.options.oversampling or (1 / samp, 1 / samp)
        degree, axes = self._axes(get, of)
        terms = (degree + 1) * (degree + 2) // 2
        cube = _cube(mask, get, terms, of)
        bad = [k for k in range(len(cube)) if not np.isfinite(cube[k]).all()]
        if bad:
            count = int((~np.isfinite(cube)).sum())
            raise ValueError(
                f"The coefficients of a PSFEx model must be finite; {count} of "
                f"component{'s' if len(bad) > 1 else ''} {', '.join(map(str, bad))}{of} are NaN "
                "or infinite. Make the model anew, or take that of another CCD."
            )
        fwhm = get("PSF_FWHM")
        width = f", PSF_FWHM {fwhm:.4g} pixels" if _is_number(fwhm) and fwhm > 0 else ""
        given = (
            ""
            if self.options.oversampling is None
            else f", {in_words(sampling)} as given"
        )
        self.say(
            f"PSFEx{of}, {f'POLDEG {degree}' if degree else 'constant'}, PSF_SAMP {samp:.5g} "
            f"({in_words((1 / samp, 1 / samp))}){given}{width}, pixel response included"
        )
        stars = get("ACCEPTED")
        if _is_number(stars) and stars <= terms:
            self.say(
                f"only {int(stars)} stars{of} for the {terms} components of its polynomial",
                warning=True,
            )
        if not degree:
            return self.constant(cube[0], sampling, "native")
        (zero_x, scale_x), (zero_y, scale_y), swapped = axes
        powers = [(i, j) for j in range(degree + 1) for i in range(degree + 1 - j)]
        if swapped:
            powers = [(j, i) for i, j in powers]
        limits = tuple(
            (z - 1 - MARGIN * s, z - 1 + MARGIN * s)
            for z, s in ((zero_x, scale_x), (zero_y, scale_y))
        )
        field = PolynomialField(
            cube, powers, (zero_x - 1, zero_y - 1), (scale_x, scale_y), limits=limits
        )
        return self.varying(field, sampling, "native")

    def _axes(self, get: Callable[..., Any], of: str) -> tuple[int, Any]:
        """Degree of the polynomial, and of x and of y where u is 0 and what a unit of u is."""
        flat = (0, ((0.0, 1.0), (0.0, 1.0), False))
        groups, n = get("POLNGRP"), get("POLNAXIS")
        if groups == 0 or n == 0 or (groups is None and get("POLDEG1") is None):
            return flat
        groups, n = 1 if groups is None else groups, 2 if n is None else n
        degree = int(_number(get, "POLDEG1", of))
        if not degree:
            return flat
        names = [str(get(f"POLNAME{k + 1}", "")).strip() for k in range(int(n))]
        axis = [w[:1].upper() if re.search("_IMAGE(_DBL)?$", w.upper()) else "" for w in names]
        if groups != 1 or sorted(axis) != ["X", "Y"]:
            raise ValueError(
                "A PSFEx model must vary with x and y of the image in one group (X_IMAGE, "
                f"Y_IMAGE); this one{of} varies with {', '.join(names) or 'nothing named'} in "
                f"{groups} group{'s' if groups != 1 else ''}. Run PSFEx with PSFVAR_KEYS "
                "X_IMAGE,Y_IMAGE and PSFVAR_GROUPS 1,1."
            )
        ranges = [
            (_number(get, f"POLZERO{k}", of), _number(get, f"POLSCAL{k}", of)) for k in (1, 2)
        ]
        if not all(s > 0 for _, s in ranges):
            raise ValueError(
                f"POLSCAL1 and POLSCAL2{of} must be positive; got {[s for _, s in ranges]}. Give "
                "another file."
            )
        swapped = axis == ["Y", "X"]
        x, y = ranges[::-1] if swapped else ranges
        return degree, (x, y, swapped)


def _is_psfex(plane: Plane) -> bool:
    names = getattr(getattr(plane.hdu, "columns", None), "names", None) or []
    return "PSF_MASK" in {n.upper() for n in names}


def _cube(mask: np.ndarray, get: Callable[..., Any], terms: int, of: str) -> np.ndarray:
    """Components (terms, ny, nx): shaped, and cut where a merged table padded them."""
    sizes = [get(f"PSFAXIS{k}") for k in (1, 2, 3)]
    sizes = [int(s) if _is_number(s) and s > 0 else None for s in sizes]
    nx, ny, nk = sizes
    if mask.ndim < 3:  # not all writers give TDIM
        if nx is None or ny is None or mask.size % (nx * ny):
            if mask.ndim != 2:
                raise ValueError(
                    f"PSF_MASK{of} must have a shape, by TDIM or by PSFAXIS1 and PSFAXIS2; got "
                    f"{mask.size} numbers. Give another file."
                )
        else:
            mask = mask.reshape(-1, ny, nx)
    cube = mask.reshape(-1, *mask.shape[-2:])
    cube = cube[:nk, :ny, :nx]
    if len(cube) < terms or (nk is not None and nk < terms):
        raise ValueError(
            f"A PSFEx model{of} of {terms} terms must have as many components; got "
            f"{nk or len(cube)}. Give another file: this one contradicts itself."
        )
    if np.any(cube[terms:]):
        raise ValueError(
            f"A PSFEx model{of} of {terms} component{'s' if terms > 1 else ''}, by POLNGRP, "
            f"POLNAXIS and POLDEG1, must have no others; got {len(cube)}. Give another file: this "
            "one contradicts itself."
        )
    return cube[:terms]


def _label(values: Mapping[str, Any]) -> str:
    return "/".join(str(values[n]).strip() for n in LABELS[:2] if n in values)


def _plain(value: Any) -> Any:
    """A table's value as Python has it."""
    if isinstance(value, bytes):
        return value.decode("ascii", "replace")
    return value.item() if isinstance(value, np.generic) else value


def _is_number(value: Any) -> bool:
    return (
        isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))
    )


def _whole(value: Any) -> int | None:
    text = str(value).strip()
    return int(text) if text.isdigit() else None


def _number(get: Callable[..., Any], card: str, of: str) -> float:
    value = get(card)
    if not _is_number(value):
        raise ValueError(
            f"{card}{of} must be a finite number; got {value!r}. Give another file: this is no "
            "whole PSFEx model."
        )
    return float(value)
