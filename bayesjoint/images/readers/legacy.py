"""Legacy: cut-outs and coadds of the DESI Legacy Imaging Surveys."""

from __future__ import annotations

from typing import ClassVar

from astropy.io import fits

from bayesjoint.images.decisions import Decision
from bayesjoint.images.files import FitsFile, Plane
from bayesjoint.images.readers.photometry import Calibration
from bayesjoint.images.readers.reader import Reader

__all__ = ["Legacy"]


class Legacy(Reader):
    """image and invvar a band by IMAGETYP, or a cube whose bands BANDS names; nanomaggies."""

    family: ClassVar[str] = "Legacy Surveys"
    order: ClassVar[int] = 40

    @classmethod
    def matches(cls, file: FitsFile) -> bool:
        """Planes by IMAGETYP or IMTYPE, BANDS with a cube, or cards of the survey."""
        typed = [p for p in file.planes if str(p.header.get("IMAGETYP", p.header.get("IMTYPE", ""))).lower() in ("image", "invvar")]  # fmt: skip
        h = file.primary.header
        return bool(typed) or ("BANDS" in h and "BAND0" in h) or _is_survey(h)

    def band(self, sci: Plane) -> tuple[str, list[Decision]]:
        """BAND, or the band of the plane of a cube that the path names."""
        names = str(sci.header.get("BANDS", "")).replace(",", "").strip()
        section = self.file.address.section
        if sci.axes and names and section is not None and len(section) > 2 and section[2]:
            k = section[2][0]
            if k <= len(names):
                return names[k - 1], [Decision("band", f"plane {k} of BANDS {names}")]
        return super().band(sci)

    def calibration(self, sci: Plane, area: float | None) -> Calibration:
        """Nanomaggies where the survey's cards are there and no unit is named."""
        found = super().calibration(sci, area)
        if found.zeropoint is None and "BUNIT" not in sci.header and _is_survey(self.file.primary.header):
            text = "22.5: the Legacy Surveys' images are in nanomaggies"
            return Calibration(22.5, None, [Decision("zeropoint", text)])
        return found


def _is_survey(h: fits.Header) -> bool:
    """Whether cards that the Legacy Surveys' cut-out service and coadds write are there."""
    survey = str(h.get("SURVEY", "")).upper().replace(" ", "")
    return "LEGPIPEV" in h or survey.startswith(("LEGACYSURVEY", "DECALS", "MZLS", "BASS"))
