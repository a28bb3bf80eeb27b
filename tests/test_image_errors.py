"""Image: what it refuses, each in one clear sentence."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS

from bayesjoint import Image

TAN = WCS(naxis=2)
TAN.wcs.ctype = "RA---TAN", "DEC--TAN"
GOOD, PSF9, PLAIN = np.random.default_rng(1).normal(size=(20, 31)), np.ones((9, 9)), {"variance": 1.0, "pixel_scale": 0.5}
NAN = np.full_like(GOOD, np.nan)
REFUSED = {
    "noise of another shape": (lambda: Image(GOOD, variance=np.ones((3, 3)), pixel_scale=1), "shape"),
    "mask of another shape": (lambda: Image(GOOD, **PLAIN, mask=np.zeros((3, 3))), "shape"),
    "all masked": (lambda: Image(GOOD, **PLAIN, mask=np.ones_like(GOOD)), "Nothing is left"),
    "all NaN": (lambda: Image(NAN, **PLAIN), "Nothing is left"),
    "all NaN, noise to estimate": (lambda: Image(NAN, variance="estimate", pixel_scale=1), "Nothing is left"),
    "constant, noise to estimate": (lambda: Image(np.ones((9, 9)), variance="estimate", pixel_scale=1), "cannot be estimated"),
    "negative variance": (lambda: Image(GOOD, variance=-1.0, pixel_scale=1), "negative"),
    "negative variances": (lambda: Image(GOOD, variance=-(GOOD**2) - 1, pixel_scale=1), "negative"),
    "NaN variance": (lambda: Image(GOOD, variance=np.nan, pixel_scale=1), "NaN"),
    "NaN variances": (lambda: Image(GOOD, variance=NAN, pixel_scale=1), "NaN"),
    "zero sigma": (lambda: Image(GOOD, sigma=0, pixel_scale=1), "Nothing is left"),
    "a word for the noise": (lambda: Image(GOOD, sigma="estimate", pixel_scale=1), "estimate"),
    "complex noise": (lambda: Image(GOOD, sigma=GOOD * 1j, pixel_scale=1), "real numbers"),
    "two noises": (lambda: Image(GOOD, variance=1, sigma=1, pixel_scale=1), "exactly one"),
    "no noise": (lambda: Image(GOOD, pixel_scale=1), "none came"),
    "PSF with NaN": (lambda: Image(GOOD, **PLAIN, psf=PSF9 * np.nan), "finite"),
    "PSF of zero sum": (lambda: Image(GOOD, **PLAIN, psf=PSF9 * 0), "positive sum"),
    "no place": (lambda: Image(GOOD, variance=1), "pixel_scale"),
    "two places": (lambda: Image(GOOD, **PLAIN, wcs=TAN), "both came"),
    "two centres": (lambda: Image(GOOD, **PLAIN, center=(0, 0), origin=(0, 0)), "not both"),
    "a centre beside a WCS": (lambda: Image(GOOD, variance=1, wcs=TAN, center=(0, 0)), "shifted"),
    "a centre of one number": (lambda: Image(GOOD, **PLAIN, center=3.0), "pair"),
    "a WCS of no sky": (lambda: Image(GOOD, variance=1, wcs=WCS(naxis=2)), "celestial"),
    "pixel scale 0": (lambda: Image(GOOD, variance=1, pixel_scale=0), "positive"),
    "pixel scale in mag": (lambda: Image(GOOD, variance=1, pixel_scale=1 * u.mag), "arcsec"),
    "many pixel scales": (lambda: Image(GOOD, variance=1, pixel_scale=[1, 1] * u.arcsec), "one number"),
    "complex data": (lambda: Image(GOOD + 1j, **PLAIN), "real numbers"),
    "words for data": (lambda: Image("image.fits", **PLAIN), "real numbers"),
    "3-D data": (lambda: Image(np.ones((2, 5, 5)), **PLAIN), "2-D"),
    "no data": (lambda: Image(np.ones((0, 5)), **PLAIN), "not empty"),
    "slash in the name": (lambda: Image(GOOD, **PLAIN, name="a/b"), "name"),
    "empty band": (lambda: Image(GOOD, **PLAIN, band=" "), "band"),
    "a word for the epoch": (lambda: Image(GOOD, **PLAIN, epoch="today"), "epoch"),
    "cutout off the image": (lambda: Image(GOOD, **PLAIN).cutout((500, 500), 5), "does not lie on"),
    "cutout of a mass": (lambda: Image(GOOD, **PLAIN).cutout((5, 5), 5 * u.kg), "size"),
    "cutout by the sky without a WCS": (lambda: Image(GOOD, **PLAIN).cutout(SkyCoord(1, 2, unit="deg"), 5), "WCS"),
    "other shape in the same place": (lambda: Image(GOOD, **PLAIN).replace(data=GOOD[:9], variance=1, mask=None), "anew"),
}


@pytest.mark.parametrize(("make", "word"), REFUSED.values(), ids=REFUSED)
def test_refused_in_one_sentence(make, word):
    with pytest.raises((ValueError, TypeError), match=word) as e:
        make()
    assert 20 < len(str(e.value)) < 400 and "\n" not in str(e.value)


def test_psfs_of_any_size_are_taken():
    assert Image(GOOD[:5], **PLAIN, psf=PSF9).psf.shape == (9, 9)
    assert Image(GOOD, **PLAIN, psf=PSF9).cutout((9, 9), 5).psf.shape == (9, 9)
    assert Image(GOOD, **PLAIN, psf=np.ones((4, 4))).psf.centroid == (0.0, 0.0)
