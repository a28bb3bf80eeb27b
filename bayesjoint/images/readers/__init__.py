"""Readers: what files of each survey and telescope hold and mean, and the images made of them.

You want this room when a file is read wrongly, or when a survey of yours lays its files out in a way
that no reader here knows: subclass `Reader`, say which files are meant and what differs.
"""

from bayesjoint.images.readers.afw import Afw
from bayesjoint.images.readers.ccddata import Ccddata
from bayesjoint.images.readers.cube import Cube
from bayesjoint.images.readers.decam import Decam
from bayesjoint.images.readers.des import Des
from bayesjoint.images.readers.euclid import Euclid
from bayesjoint.images.readers.hst import Hst
from bayesjoint.images.readers.jwst import Jwst
from bayesjoint.images.readers.legacy import Legacy
from bayesjoint.images.readers.nddata import from_nddata
from bayesjoint.images.readers.panstarrs import Panstarrs
from bayesjoint.images.readers.plain import Plain
from bayesjoint.images.readers.reader import Reader, Reading, readers
from bayesjoint.images.readers.reading import Missing, examine, read
from bayesjoint.images.readers.sdss import Sdss
from bayesjoint.images.readers.writing import write

__all__ = [
    "Afw", "Ccddata", "Cube", "Decam", "Des", "Euclid", "Hst", "Jwst", "Legacy", "Missing",
    "Panstarrs", "Plain", "Reader", "Reading", "Sdss", "examine", "from_nddata", "read", "readers",
    "write",
]  # fmt: skip
