"""PSF files: every kind of PSF that the field's tools write, and how it is read.

You want this room when a PSF is read wrongly, or when yours comes in a kind that is not known here:
subclass `PSFFile`, say which files or objects are meant, and make a `PSF` of them.
"""

from bayesjoint.images.psf_files.base import Options, PSFFile, kinds
from bayesjoint.images.psf_files.cells import from_cells
from bayesjoint.images.psf_files.galsim_objects import GalSimImage, GalSimPSF, GalSimPSFEx
from bayesjoint.images.psf_files.grids import STDPSF, PhotutilsPSF, STPSFGrid
from bayesjoint.images.psf_files.layout import Written, on_grid, to_hdu
from bayesjoint.images.psf_files.lsst import LSST
from bayesjoint.images.psf_files.piff_files import Piff
from bayesjoint.images.psf_files.plain import Array, Given, Plain
from bayesjoint.images.psf_files.psfex import PSFEx
from bayesjoint.images.psf_files.reading import from_hdu, inspect, read
from bayesjoint.images.psf_files.sdss import PsField
from bayesjoint.images.psf_files.stpsf import STPSF

__all__ = [
    "LSST", "STDPSF", "STPSF", "Array", "GalSimImage", "GalSimPSF", "GalSimPSFEx", "Given",
    "Options", "PSFEx", "PSFFile", "PhotutilsPSF", "Piff", "Plain", "PsField", "STPSFGrid",
    "Written", "from_cells", "from_hdu", "inspect", "kinds", "on_grid", "read", "to_hdu",
]  # fmt: skip
