"""HST: calibrated (flt, flc) and drizzled (drz, drc) images of the Hubble Space Telescope."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from bayesjoint.images.files import FitsFile, Plane
from bayesjoint.images.readers.bands import telescope_of
from bayesjoint.images.readers.reader import Reader

__all__ = ["Hst"]


class Hst(Reader):
    """SCI with ERR and DQ; the WHT of drizzled images is exposure time unless made as IVM."""

    family: ClassVar[str] = "HST"
    order: ClassVar[int] = 40

    @classmethod
    def matches(cls, file: FitsFile) -> bool:
        """TELESCOP is HST."""
        return any(telescope_of(p.header, None) == "HST" for p in file.planes)

    def noise(self, sci: Plane, data: np.ndarray) -> tuple[str, np.ndarray] | None:
        """ERR where it is there; WHT only where a card says that it is an inverse variance.

        Raises
        ------
        ValueError
            For a WHT whose kind is not known.
        """
        plane = self.partner(sci, ("sigma", "variance", "ivar", "uncertainty"))
        if plane is not None:
            return self.noise_of(plane, sci, data)
        weight = self.partner(sci, ("weight",))
        if weight is None:
            return None
        text = " ".join(
            str(h.get(k, ""))
            for h in (weight.header, sci.header, self.file.primary.header)
            for k in ("WHTTYPE", "WHT_TYPE", "FWHTTYPE", "FINALWHT")
        ).upper()
        if "IVM" in text or "ERR" in text:
            return self.noise_of(weight, sci, data)
        raise ValueError(
            f"The WHT of HST's drizzled images is exposure time unless it was made with "
            f"final_wht_type='IVM', and {self.file.label} does not say which. Where it is an inverse "
            f"variance give ivar='FILE{weight.tag}'; else measure the noise with variance='estimate', "
            "which keeps the pixels of weight 0 masked."
        )
