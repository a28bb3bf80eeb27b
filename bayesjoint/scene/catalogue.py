"""Catalogue: what a table of objects says of their places, names, kinds and shapes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Table

from bayesjoint.images import Frame, Image
from bayesjoint.sky.components import Component

__all__ = ["SHAPE", "object_kinds", "object_names", "object_places", "object_shapes"]

IDS = ("id", "name", "label", "source_id", "object_id")
"""Columns that name objects, the first of them that a catalogue has."""
SHAPE = {
    "n": u.dimensionless_unscaled,
    "r_eff": u.arcsec,
    "q": u.dimensionless_unscaled,
    "pa": u.deg,
}
"""Columns of a Sérsic's shape, with their units."""


def _columns(catalog: Table) -> dict[str, str]:
    """A catalogue's columns by their names in lower case."""
    return {c.lower(): c for c in catalog.colnames}


def _numbers(catalog: Table, column: str, unit: u.UnitBase) -> np.ndarray:
    """A column as floats in a unit, NaN where it is masked; a column without a unit is in it
    already.
    """
    values = catalog[column]
    own, hidden = getattr(values, "unit", None), getattr(values, "mask", False)
    raw = getattr(values, "unmasked", values)
    numbers = np.array(getattr(raw, "value", raw), dtype=float)
    if own is not None:
        numbers = (numbers * u.Unit(own)).to_value(unit)
    return np.where(hidden, np.nan, numbers)


def object_places(catalog: Table, im: Image, frame: Frame) -> list[tuple[float, float]]:
    """Places (x East, y North) in arcsec of a catalogue's objects, NaN where a row has none.

    Parameters
    ----------
    catalog : Table
        With columns ``ra`` and ``dec`` (degree, or their own units), or ``x`` and ``y`` (0-based
        pixels of `im`).
    im : Image
        Whose pixels those are.
    frame : Frame
        The tangent plane.

    Raises
    ------
    ValueError
        For a catalogue without such columns, or positions on the sky where no image has a WCS.
    """
    names = _columns(catalog)
    if {"ra", "dec"} <= names.keys():
        ra, dec = (_numbers(catalog, names[k], u.deg) for k in ("ra", "dec"))
        known = np.isfinite(ra) & np.isfinite(dec)
        out = np.full((len(ra), 2), np.nan)
        for k in np.flatnonzero(known):
            out[k] = frame.offset(SkyCoord(ra[k], dec[k], unit="deg"))
        return [(float(x), float(y)) for x, y in out]
    if {"x", "y"} <= names.keys():
        px, py = (_numbers(catalog, names[k], u.pix) for k in ("x", "y"))
        return [
            tuple(float(v) for v in frame.to_sky(im.placement, a, b))
            for a, b in zip(px, py, strict=True)
        ]
    raise ValueError(
        "A catalogue must have the columns ra and dec (degree), or x and y (0-based pixels of the "
        "image of the finest pixels); "
        f"got {', '.join(catalog.colnames)}. Rename its columns."
    )


def object_names(catalog: Table) -> list[str]:
    """Names of a catalogue's objects: its own ids, "object 17" for a number, else "object 1",
    "object 2", ... by row.

    Raises
    ------
    ValueError
        For an id that names two objects, or cannot be a component's name.
    """
    names = _columns(catalog)
    column = next((names[k] for k in IDS if k in names), None)
    if column is None:
        return [f"object {k}" for k in range(1, len(catalog) + 1)]
    out = []
    for given in catalog[column]:
        text = (given.decode() if isinstance(given, bytes) else str(given)).strip()
        text = f"object {text}" if text.lstrip("-").isdigit() else text
        try:
            out.append(Component(text).name)
        except ValueError as e:
            raise ValueError(
                f"A catalogue's {column} must be a short text without '/', '[' or ']'; got "
                f"{text!r}. Rename it, or remove the column."
            ) from e
    twice = next((n for n in out if out.count(n) > 1), None) if len(set(out)) < len(out) else None
    if twice is not None:
        raise ValueError(
            f"A catalogue's {column} must be unique; got {twice!r} twice. Rename one, or remove "
            "the column."
        )
    return out


def object_kinds(catalog: Table) -> list[str | None]:
    """What a catalogue's column ``type`` says of each object: "point", "galaxy", or None where
    there is none.

    Raises
    ------
    ValueError
        For any other word.
    """
    names = _columns(catalog)
    if "type" not in names:
        return [None] * len(catalog)
    kinds = [str(k).strip().lower() for k in catalog[names["type"]]]
    odd = next((k for k in kinds if k not in ("point", "galaxy")), None)
    if odd is not None:
        raise ValueError(
            f"The type of a catalogue's object must be 'point' or 'galaxy'; got {odd!r}. Correct "
            "it, or remove the column."
        )
    return kinds


def object_shapes(
    catalog: Table, shapes: Mapping[str, str] | Table | bool | None
) -> list[dict[str, float] | None]:
    """Shape of each of a catalogue's objects: n, r_eff (arcsec), q and pa (degree); None for a
    point.

    Parameters
    ----------
    catalog : Table
        The objects.
    shapes : mapping of column names by parameter, Table, False or None
        Where shapes are: columns of the catalogue by other names, a table with a row an object,
        nowhere (all are points), or in columns named as the parameters, if there are any.

    Raises
    ------
    ValueError
        For unknown parameters, a table of another length, columns that are missing, or shapes that
        mean nothing.
    """
    kinds = object_kinds(catalog)
    table, column = catalog, {k: k for k in SHAPE}
    if isinstance(shapes, Mapping):
        odd = next((k for k in shapes if k not in SHAPE), None)
        if odd is not None:
            raise ValueError(
                f"shapes must name columns of {', '.join(SHAPE)}; got one of {odd!r}. Leave it out."
            )
        column |= {k: str(v) for k, v in shapes.items()}
    elif isinstance(shapes, Table):
        if len(shapes) != len(catalog):
            raise ValueError(
                f"shapes must have a row for each of the {len(catalog)} objects; got "
                f"{len(shapes)} rows."
            )
        table = shapes
    names = _columns(table)
    have = {k: names[c.lower()] for k, c in column.items() if c.lower() in names}
    asked = set(shapes) if isinstance(shapes, Mapping) else set()
    missing = next((column[k] for k in asked if k not in have), None)
    if missing is not None:
        raise ValueError(
            f"shapes must name columns of the catalogue; got {missing!r}, which it has not."
        )
    if shapes is False or "r_eff" not in have:
        if "galaxy" in kinds:
            raise ValueError(
                "A catalogue's galaxies must have shapes; got no column r_eff. Give "
                "shapes={'r_eff': column, ...}."
            )
        return [None] * len(catalog)
    values = {k: _numbers(table, c, SHAPE[k]) for k, c in have.items()}
    defaults = {"n": 1.0, "q": 1.0, "pa": 0.0}
    out: list[dict[str, float] | None] = []
    for row, kind in enumerate(kinds):
        size = float(values["r_eff"][row])
        if kind == "point" or (kind is None and not size > 0):
            out.append(None)
            continue
        shape = {"r_eff": size} | {
            k: float(values[k][row]) if k in values else v for k, v in defaults.items()
        }
        odd = next(
            (
                k
                for k in shape
                if not np.isfinite(shape[k])
                or (k != "pa" and not shape[k] > 0)
                or (k == "q" and shape[k] > 1)
            ),
            None,
        )
        if odd is not None:
            raise ValueError(
                f"{odd} of a catalogue's galaxy must be a number"
                f"{'' if odd == 'pa' else ' above 0 (q at most 1)'}; got {shape[odd]:g} in row "
                f"{row} (from 0)."
                " Mend it, or set r_eff to 0 for a point."
            )
        out.append(shape)
    return out
