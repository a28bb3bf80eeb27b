"""Readers: every layout that surveys ship is read right or refused in words; and silence where all is well."""

import logging
import re
import warnings

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData, StdDevUncertainty
from astropy.wcs import WCS
from conftest import ROOT
from scipy.ndimage import binary_dilation

from bayesjoint import PSF, Image
from bayesjoint.images import readers
from bayesjoint.images.files import Address
from bayesjoint.images.noise import estimate_sigma
from bayesjoint.images.readers import sdss
from bayesjoint.images.readers.reader import Reader

N, NOISE = 64, 0.02
Y, X = np.mgrid[:N, :N]
LIGHT = 3.0 * np.exp(-np.hypot(X - 31.5, (Y - 31.5) / 0.7) / 4.0)
D = (LIGHT + np.random.default_rng(5).normal(0, NOISE, (N, N))).astype("f4")
GALAXY = binary_dilation(LIGHT > 0.1, iterations=2)
P = np.exp(-0.5 * (np.hypot(*(np.mgrid[-10:11, -10:11])) / 1.7) ** 2)


def header(s=0.2, **cards):
    h = fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.2, "CRPIX1": 32.5, "CRPIX2": 32.5})
    h.update({"CD1_1": -s / 3600, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": s / 3600})
    h.update(cards)
    return h


def plane(pixels, name=None, cards=(), ver=None):
    h = fits.Header()
    h.update(cards)
    return fits.ImageHDU(pixels, h, name=name, ver=ver)


def level(value, name=None, cards=(), ver=None):
    return plane(np.full((N, N), value, "f4"), name, cards, ver)


def primary(pixels=None, **cards):
    h = fits.Header()
    h.update(cards)
    return fits.PrimaryHDU(pixels, h)


def image(pixels=None, **cards):
    """A primary image with a WCS."""
    return fits.PrimaryHDU(D if pixels is None else pixels, header(**cards))


def sci(name="SCI", ver=None, pixels=None, **cards):
    return plane(D if pixels is None else pixels, name, header(**cards), ver)


def bits(dtype="i4", **where):
    a = np.zeros((N, N), dtype)
    for bit, at in where.items():
        a[at] |= a.dtype.type(1 << int(bit[1:]))
    return a


def afw_mask(**more):
    names = ("BAD", "SAT", "INTRP", "CR", "EDGE", "DETECTED", "DETECTED_NEGATIVE", "SUSPECT", "NO_DATA")
    return np.where(GALAXY, 1 << 5, 0) | bits(b0=(3, 3), b8=(5, 5), **more), {f"HIERARCH MP_{n}": k for k, n in enumerate(names)}


GAP = np.zeros((N, N), bool)
GAP[:, :12] = True
COLUMN = np.zeros((N, N), bool)
COLUMN[:, 20] = True
PAIR = np.zeros((N, N), bool)
PAIR[3, 3] = PAIR[5, 5] = True
ASINH = {"BSOFTEN": 0.05, "BOFFSET": 0.1}


def asinh(x):
    return (2.5 / np.log(10) * np.arcsinh((x - 0.1) / 0.1)).astype("f4")


HST = {"TELESCOP": "HST", "INSTRUME": "ACS", "FILTER1": "CLEAR1L", "FILTER2": "F814W", "PHOTFLAM": 7.0e-20, "PHOTPLAM": 8045.0}
ACS_ZP = -2.5 * np.log10(7.0e-20) - 5 * np.log10(8045.0) - 2.408
SR = np.radians(0.2 / 3600) ** 2

# name: HDUs, arguments, (sigma, zeropoint, band, masked pixels)
RIGHT = {
    "HSC afw by EXTTYPE": (
        lambda: [primary(FILTER="r", FLUXMAG0=10**10.8), plane(D, None, header(EXTTYPE="IMAGE")), plane(afw_mask()[0].astype("i4"), None, {"EXTTYPE": "MASK"} | afw_mask()[1]),
                 level(NOISE**2, None, {"EXTTYPE": "VARIANCE"})],
        {}, (NOISE, 27.0, "r", PAIR)),
    "LSST by EXTNAME, nJy": (
        lambda: [primary(), plane(D, "IMAGE", header(BUNIT="nJy", FILTER="i")), plane(afw_mask()[0].astype("i4"), "MASK", afw_mask()[1]), level(NOISE**2, "VARIANCE", {"BUNIT": "nJy2"})],
        {}, (NOISE, 31.4, "i", PAIR)),
    "JWST i2d": (
        lambda: [primary(TELESCOP="JWST", INSTRUME="NIRCAM", FILTER="F200W", PUPIL="CLEAR"), sci(BUNIT="MJy/sr", PIXAR_SR=SR), level(NOISE, "ERR", {"BUNIT": "MJy/sr"}),
                 plane(np.ones((2, N, N), "i4"), "CON"), level(900.0, "WHT"), level(1e-9, "VAR_POISSON"), level(1e-9, "VAR_RNOISE"), level(1e-9, "VAR_FLAT")],
        {}, (NOISE, 8.9 - 2.5 * np.log10(1e6 * SR), "F200W", PAIR & False)),
    "JWST cal": (
        lambda: [primary(TELESCOP="JWST", INSTRUME="NIRISS", FILTER="CLEAR", PUPIL="F150W"), sci(BUNIT="MJy/sr", PIXAR_SR=SR), level(NOISE, "ERR"),
                 plane(np.where(GALAXY, 4 | 2, 0).astype("u4") | bits("u4", b0=([3, 5], [3, 5]), b12=(9, 9)), "DQ")],
        {}, (NOISE, 8.9 - 2.5 * np.log10(1e6 * SR), "F150W", PAIR)),
    "HST flc": (
        lambda: [primary(**HST), sci(BUNIT="ELECTRONS/S", **{k: HST[k] for k in ("PHOTFLAM", "PHOTPLAM")}), level(NOISE, "ERR"),
                 plane(np.where(GALAXY, 64, 0).astype("i2") | bits("i2", b4=(3, 3), b13=(5, 5)), "DQ")],
        {}, (NOISE, ACS_ZP, "F814W", PAIR)),
    "HST drz, noise measured": (
        lambda: [primary(**HST), sci(BUNIT="ELECTRONS/S", pixels=np.where(GAP, 0, D).astype("f4"), **{k: HST[k] for k in ("PHOTFLAM", "PHOTPLAM")}),
                 plane(np.where(GAP, 0, 2400.0), "WHT"), plane(np.ones((N, N), "i4"), "CTX")],
        {"variance": "estimate"}, (NOISE, ACS_ZP, "F814W", GAP)),
    "HST drz, weights made as inverse variance": (
        lambda: [primary(**HST), sci(BUNIT="ELECTRONS/S", **{k: HST[k] for k in ("PHOTFLAM", "PHOTPLAM")}), level(NOISE**-2, "WHT", {"WHTTYPE": "IVM"})],
        {}, (NOISE, ACS_ZP, "F814W", PAIR & False)),
    "Legacy Surveys, image and invvar": (
        lambda: [primary(), plane(D, None, header(IMAGETYP="image", BAND="r", BUNIT="nanomaggy")), level(NOISE**-2, None, {"IMAGETYP": "invvar", "BAND": "r"})],
        {}, (NOISE, 22.5, "r", PAIR & False)),
    "DES tile": (
        lambda: [image(BUNIT="electrons", MAGZERO=30.0, BAND="r"), plane(np.where(GALAXY, 1 << 11, 0).astype("i4") | bits(b0=(3, 3), b4=(5, 5)), "MSK"), level(NOISE**-2, "WGT")],
        {}, (NOISE, 30.0, "r", PAIR)),
    "Euclid NISP": (
        lambda: [primary(TELESCOP="EUCLID", INSTRUME="NISP", FILTER="H"), sci("DET11.SCI", ZPAB=29.8), level(NOISE, "DET11.RMS"),
                 plane(np.where(GALAXY, 1 << 9, 0).astype("i4") | bits(b0=([3, 5], [3, 5])), "DET11.FLG")],
        {}, (NOISE, 29.8, "H", PAIR)),
    "MUSE, one plane": (
        lambda: [primary(), plane(np.stack([9 * D, D]), "DATA", header(CTYPE3="AWAV", CRVAL3=4750.0, CRPIX3=1.0, CD3_3=1.25, CUNIT3="Angstrom")),
                 plane(np.stack([np.ones((N, N)), np.full((N, N), NOISE**2)]), "STAT"), plane(np.stack([np.ones((N, N), "i4"), bits(b0=([3, 5], [3, 5]))]), "DQ")],
        {"_": "[DATA][*,*,2]"}, (NOISE, None, None, PAIR)),
    "Legacy Surveys, one band of a cube": (
        lambda: [primary(np.stack([9 * D, D, 3 * D]), **header(BANDS="grz", BAND0="g", BAND1="r", BAND2="z", SURVEY="LegacySurvey", BUNIT="nanomaggy"))],
        {"_": "[0][*,*,2]", "sigma": NOISE}, (NOISE, 22.5, "r", PAIR & False)),
    "2MASS": (
        lambda: [image(TELESCOP="2MASS", FILTER="j", MAGZP=20.9, BUNIT="DN")], {"sigma": NOISE}, (NOISE, 20.9 + 0.91, None, PAIR & False)),
    "Euclid VIS": (
        lambda: [primary(TELESCOP="EUCLID", INSTRUME="VIS"), sci("CCDID 1-1.SCI", ZPAB=24.6), level(NOISE, "CCDID 1-1.RMS"),
                 plane(np.where(GALAXY, 1 << 9, 0).astype("i4") | bits(b0=([3, 5], [3, 5])), "CCDID 1-1.FLG")],
        {}, (NOISE, 24.6, None, PAIR)),
    "CCDData": (
        lambda: CCDData(D, unit="adu", uncertainty=StdDevUncertainty(np.full((N, N), NOISE)), mask=PAIR, wcs=WCS(header())).to_hdu(),
        {}, (NOISE, None, None, PAIR)),
    "STScI constant arrays": (
        lambda: [primary(), sci(MAGZERO=25.0, FILTER="V"), fits.ImageHDU(None, fits.Header({"PIXVALUE": NOISE, "NPIX1": N, "NPIX2": N}), name="ERR"),
                 fits.ImageHDU(None, fits.Header({"PIXVALUE": 0, "NPIX1": N, "NPIX2": N}), name="DQ")],
        {}, (NOISE, 25.0, "V", PAIR & False)),
    "Pan-STARRS asinh": (
        lambda: [image(asinh(D), EXPTIME=100.0, **ASINH, **{"HIERARCH FPA.ZP": 25.0}, TELESCOP="PS1", FILTER="r.00000")],
        {"sigma": NOISE}, (NOISE, 30.0, None, PAIR & False)),
    "zero fill, noise measured": (lambda: [image(np.where(GAP, 0, D).astype("f4"))], {"variance": "estimate"}, (NOISE, None, None, GAP)),
    "-9999 in blocks": (lambda: [image(np.where(GAP, -9999, D).astype("f4"))], {"sigma": NOISE}, (NOISE, None, None, GAP)),
    "rms of 1e30": (lambda: [image(), plane(np.where(GAP, 1e30, NOISE), "RMS")], {}, (NOISE, None, None, GAP)),
    "weight 0": (lambda: [image(), plane(np.where(GAP, 0, NOISE**-2), "IVAR")], {}, (NOISE, None, None, GAP)),
    "NaN": (lambda: [image(np.where(GAP, np.nan, D)), level(NOISE, "ERR")], {}, (NOISE, None, None, GAP)),
    "detectors by number": (
        lambda: [primary(MAGZERO=25.0, FILTER="V"), sci("SCI1"), level(NOISE, "ERR1"), plane(bits(b0=([3, 5], [3, 5])), "DQ1")],
        {}, (NOISE, 25.0, "V", PAIR)),
    "all images, then all noise": (
        lambda: [primary(), sci(pixels=9 * D), sci(FILTER="V"), level(9 * NOISE, "ERR"), level(NOISE, "ERR")], {"_": "[2]"}, (NOISE, None, "V", PAIR & False)),
    "Euclid VIS, a name with blanks": (
        lambda: [primary(TELESCOP="EUCLID", INSTRUME="VIS", FILTER="VIS"), *(p for k in (1, 2) for p in (
            sci(f"CCDID 1-{k}.SCI", MAGZERO=24.6), level(k * NOISE, f"CCDID 1-{k}.RMS"), plane(bits(b0=([3, 5], [3, 5])), f"CCDID 1-{k}.FLG")))],
        {"_": "[CCDID 1-1.SCI]"}, (NOISE, 24.6, "VIS", PAIR)),
    "INVERSE VARIANCE": (lambda: [image(), level(NOISE**-2, "INVERSE VARIANCE")], {}, (NOISE, None, None, PAIR & False)),
    "WEIGHT_IMAGE beside FLUX": (lambda: [primary(), sci("FLUX"), level(NOISE**-2, "WEIGHT_IMAGE"), level(1e-9, "VAR_POISSON")], {}, (NOISE, None, None, PAIR & False)),
    "CCDData under names of the user's own": (
        lambda: [image(), level(NOISE**2, "NOISEMAP", {"UTYPE": "VarianceUncertainty"})], {}, (NOISE, None, None, PAIR & False)),
    "a variance in another unit": (
        lambda: [image(BUNIT="uJy", FILTER="V"), level(1e6 * NOISE**2, "VAR", {"BUNIT": "nJy2"})], {}, (NOISE, 23.9, "V", PAIR & False)),
    "a variance with the unit of the image": (
        lambda: [image(BUNIT="uJy", FILTER="V"), level(NOISE**2, "VAR", {"BUNIT": "uJy"})], {}, (NOISE, 23.9, "V", PAIR & False)),
    "planes whose bits are text": (
        lambda: [image(), level(NOISE, "ERR"), plane(afw_mask()[0].astype("i4"), "MASK", {k: str(v) for k, v in afw_mask()[1].items()})], {}, (NOISE, None, None, PAIR)),
    "bit 63": (lambda: [image(), level(NOISE, "ERR"), plane(np.where(PAIR, -(2**63), np.where(GALAXY, 32, 0)), "MASK", {"MP_BAD": 63, "HIERARCH MP_DETECTED": 5})],
               {}, (NOISE, None, None, PAIR)),
    "asinh by cards of the primary": (lambda: [primary(**ASINH), sci(pixels=asinh(D)), level(NOISE, "ERR")], {}, (NOISE, None, None, PAIR & False)),
    "sentinels of single pixels": (lambda: [image(np.where(PAIR, -9999, D).astype("f4"))], {"sigma": NOISE}, (NOISE, None, None, PAIR)),
    "1e30 in single pixels": (lambda: [image(np.where(PAIR, 1e30, D).astype("f4"))], {"variance": "estimate"}, (NOISE, None, None, PAIR)),
    "a column of 0": (lambda: [image(np.where(COLUMN, 0, D).astype("f4"))], {"sigma": NOISE}, (NOISE, None, None, COLUMN)),
    "negative sigma where noise is given": (lambda: [image(), plane(np.where(GAP, -1, NOISE), "ERR")], {"sigma": NOISE}, (NOISE, None, None, GAP)),
    "a primary image that has a name": (lambda: [fits.PrimaryHDU(D, header(EXTNAME="CHIP01")), level(NOISE, "ERR")], {}, (NOISE, None, None, PAIR & False)),
    "cards without a value": (lambda: [image(**dict.fromkeys(("RADESYS", "EQUINOX", "MAGZERO", "BUNIT", "TELESCOP"))), level(NOISE, "ERR")], {}, (NOISE, None, None, PAIR & False)),
    "SDSS frame": (
        lambda: [image(BUNIT="nanomaggy", RUN=1000, CAMCOL=1, FILTER="r", TELESCOP="2.5m"), fits.ImageHDU(np.full(N, 0.005, "f4")),
                 fits.BinTableHDU.from_columns([fits.Column("ALLSKY", "16E", dim="(4,4)", array=np.full((1, 4, 4), 64.0)), fits.Column("XINTERP", f"{N}E", array=np.linspace(0, 3, N)[None]),
                                                fits.Column("YINTERP", f"{N}E", array=np.linspace(0, 3, N)[None])])],
        {}, (0.005 * np.sqrt(64 / 4.71 + 1.8225), 22.5, "r", PAIR & False)),
}  # fmt: skip


ROWS = {
    "LSST and HSC (afw)": ("HSC afw by EXTTYPE", "LSST by EXTNAME, nJy", "test_real_files"),
    "JWST (cal, crf, i2d)": ("JWST i2d", "JWST cal"),
    "HST (flt, flc)": ("HST flc",),
    "HST (drz, drc)": ("HST drz, noise measured", "HST drz, weights made as inverse variance"),
    "Legacy Surveys (cut-outs)": ("Legacy Surveys, image and invvar", "Legacy Surveys, one band of a cube"),
    "DES (tiles)": ("DES tile", "test_real_files"),
    "DECam Community Pipeline": ("test_codes_of_the_community_pipeline_are_no_bits", "test_real_files"),
    "Pan-STARRS (stacks)": ("Pan-STARRS asinh", "test_planes_that_a_header_names_by_value"),
    "unWISE, WISE": ("test_real_files",),
    "2MASS, UKIDSS, VISTA": ("2MASS",),
    "Euclid (VIS, NISP)": ("Euclid NISP", "Euclid VIS"),
    "SDSS (frame)": ("SDSS frame", "test_real_files"),
    "MUSE, MaNGA, narrow bands of cubes": ("MUSE, one plane",),
    "astropy's `CCDData.write`": ("CCDData",),
    "STScI's constant arrays": ("STScI constant arrays",),
    "integers with BLANK": ("test_blank_of_integers_is_masked",),
    "`Image.write`": ("test_what_was_written_reads_the_same",),
    "any other": ("rms of 1e30", "weight 0", "NaN"),
}
"""What tests each row of the table in docs/files.md: cases of `RIGHT`, or tests of this file."""


def test_every_row_of_the_docs_table_has_a_test():
    page = (ROOT / "docs" / "files.md").read_text().split("## What is read from where")[1].split("##")[0]
    rows = [line.split("|")[1].strip() for line in page.splitlines() if line.startswith("|")][2:]
    assert rows == list(ROWS)
    for cases in ROWS.values():
        assert all(c in RIGHT or callable(globals().get(c)) for c in cases), cases


def test_what_was_written_reads_the_same(tmp_path, heard):
    im = Image(D, sigma=NOISE, mask=PAIR, psf=P, wcs=WCS(header()), zeropoint=25.0, band="r", name="a", gain=2.0, epoch=59000.0)
    im.write(tmp_path / "a.fits")
    back = Image.read(tmp_path / "a.fits")
    for k in ("data", "variance", "mask"):
        np.testing.assert_array_equal(getattr(back, k), getattr(im, k))
    assert (back.zeropoint, back.band, back.name, back.gain, back.epoch) == (25.0, "r", "a", 2.0, 59000.0) and not heard()


@pytest.fixture()
def heard(caplog):
    caplog.set_level(logging.WARNING, logger="bayesjoint")
    return lambda: [r.getMessage() for r in caplog.records]


def written(tmp_path, hdus, name="some.fits"):
    fits.HDUList(hdus).writeto(tmp_path / name, overwrite=True)
    return tmp_path / name


@pytest.mark.parametrize(("hdus", "given", "truth"), RIGHT.values(), ids=RIGHT)
def test_a_layout_is_read_right_and_in_silence(hdus, given, truth, tmp_path, heard):
    path, given = written(tmp_path, hdus()), dict(given)
    im = Image.read(f"{path}{given.pop('_', '')}", **given)
    sigma, zeropoint, band, masked = truth
    estimated = given.get("variance") == "estimate"
    assert np.median(im.sigma[im.valid]) == pytest.approx(sigma, rel=0.15 if estimated else 0.05)
    assert im.zeropoint == (None if zeropoint is None else pytest.approx(zeropoint, abs=0.003))
    assert band is None or im.band == band
    np.testing.assert_array_equal(im.mask, masked)
    np.testing.assert_allclose((im.data - D)[im.valid], 0.0, atol=1e-5)
    assert im.pixel_scale == pytest.approx(0.2, rel=1e-3)
    said = [t for t in heard() if "estimated" not in t and "zeropoint" not in t.lower()]
    assert not said and {d.about for d in im.decisions} >= {"band"}


CUBE = lambda **cards: [image(np.stack([D] * 3), **cards)]  # noqa: E731
# name: HDUs, arguments, words of the refusal
REFUSED = {
    "two chips": (lambda: [primary(), sci(ver=1), level(1, "ERR", ver=1), sci(ver=2), level(1, "ERR", ver=2)], {}, ("2 images", "SCI,1", "Name")),
    "many detectors": (lambda: [primary(), *(p for k in range(9) for p in (sci(f"DET{k}.SCI"), level(1, f"DET{k}.RMS")))], {}, ("9 images", "more", "Name")),
    "two bands": (lambda: [primary(), *(plane(D, None, header(IMAGETYP=t, BAND=b)) for b in "gr" for t in ("image", "invvar"))], {}, ("2 images", r"\(r\)")),
    "a cube of bands": (lambda: CUBE(BANDS="grz"), {"sigma": 1}, ("cube", "grz", r"\[\*,\*,1\]")),
    "weights of HST": (lambda: [primary(**HST), sci(), level(900.0, "WHT")], {}, ("exposure time", "IVM", "estimate")),
    "weights that are none": (lambda: [primary(), sci(), level(40.0, "WEIGHT")], {}, ("no inverse variance", "Give")),
    "half of an asinh": (lambda: [image(asinh(D), BSOFTEN=0.05)], {"sigma": 1}, ("BOFFSET", "linear")),
    "noise of another shape": (lambda: [image(), plane(np.ones((9, 9)), "ERR")], {}, ("shape",)),
    "mask of another shape": (lambda: [image(), plane(np.ones((9, 9), "i2"), "DQ")], {"sigma": 1}, ("mask", "shape")),
    "a value for a bit": (lambda: [image(), plane(bits(b12=(3, 3)), "DQ")], {"sigma": 1, "bad_bits": [4096]}, ("bit 12, not value 4096",)),
    "a negative bit": (lambda: [image(), plane(bits(b12=(3, 3)), "DQ")], {"sigma": 1, "bad_bits": [-1]}, ("counted from 0",)),
    "a plane that is not there": (lambda: [image(), plane(afw_mask()[0].astype("i4"), "MASK", afw_mask()[1])], {"sigma": 1, "bad_bits": ["BLED"]}, ("BLED", "SAT")),
    "a plane without names": (lambda: [image(), plane(bits(b1=(3, 3)), "DQ")], {"sigma": 1, "bad_bits": ["SAT"]}, ("names no planes",)),
    "bits without a mask": (lambda: [image()], {"sigma": 1, "bad_bits": [1]}, ("has none",)),
    "bits of codes": (lambda: [image(PRODTYPE="dqmask", PLVER="V4.8"), plane(bits(b1=(3, 3)), "DQ")], {"sigma": 1, "bad_bits": [1]}, ("codes", "SATURATED")),
    "an uncertainty of no kind": (lambda: [image(), level(1, "UNCERT", {"UTYPE": "UnknownUncertainty"})], {}, ("UTYPE", "Give")),
    "an extension that is not there": (lambda: [primary(), sci()], {"_": "[SCI,3]", "sigma": 1}, ("SCI,3", "Name")),
    "an extension by number": (lambda: [primary(), sci()], {"_": "[7]", "sigma": 1}, ("7", "SCI")),
    "an extension without pixels": (lambda: [primary(), sci()], {"_": "[0]", "sigma": 1}, ("must hold an image",)),
    "an extension in words": (lambda: [primary(), sci()], {"_": "[SCI,two]", "sigma": 1}, ("NAME,VERSION",)),
    "a section off the image": (lambda: [image()], {"_": "[10:900,1:20]", "sigma": 1}, ("section", "smaller")),
    "a section the wrong way round": (lambda: [image()], {"_": "[20:10,1:20]", "sigma": 1}, ("smaller number first",)),
    "no image": (lambda: [primary()], {"sigma": 1}, ("No image",)),
    "noise of another version": (lambda: [primary(), sci(ver=2), level(1, "ERR", ver=1)], {}, ("no noise", "belongs to it")),
    "noise alone": (lambda: [primary(), level(1, "ERR")], {"sigma": 1}, ("No image", "ERR", "Name")),
    "a section of three axes": (lambda: [image()], {"_": "[1:9,1:9,1:9]", "sigma": 1}, ("as many axes",)),
    "an oversampling of no PSF": (lambda: [image()], {"sigma": 1, "psf_oversampling": 4}, ("psf_oversampling", "Give psf=")),
    "a card of the WCS that is nan": (lambda: [image(CRPIX1="nan")], {"sigma": 1}, ("CRPIX1", "nan", "wcs=")),
    "a flux of a count a second": (lambda: [image(BUNIT="electron")], {"sigma": 1, "zeropoint": 1 * u.uJy * u.s / u.electron}, ("exposure time",)),
    "text as a mask": (lambda: [image()], {"sigma": 1, "mask": np.full((N, N), "F")}, ("mask must be", "True")),
    "a number as a source's mask": (lambda: [image()], {"sigma": 1, "mask": 3}, ("mask must have the shape",)),
    "noise of no sign": (lambda: [image()], {"sigma": -1.0}, ("sigma must be positive", "estimate")),
    "two noises": (lambda: [image()], {"sigma": 1, "ivar": 1}, ("exactly one",)),
}  # fmt: skip


@pytest.mark.parametrize(("hdus", "given", "words"), REFUSED.values(), ids=REFUSED)
def test_what_is_ambiguous_is_refused_in_one_sentence(hdus, given, words, tmp_path):
    path, given = written(tmp_path, hdus()), dict(given)
    where = given.pop("_", "")
    with pytest.raises(ValueError) as e:
        Image.read(f"{path}{where}", **given)
    text = str(e.value)
    assert "\n" not in text and 20 < len(text) < 600
    for word in words:
        assert re.search(word, text), text


SAID = {
    "most of the bright pixels masked": (lambda: [image(), level(NOISE, "ERR"), plane(GALAXY.astype("u1"), "MASK")], {}, ("hides", "above 5 sigma", "bad_bits=")),
    "weights that are doubtful": (lambda: [primary(), sci(), level((2 * NOISE) ** -2, "WEIGHT")], {}, ("times the scatter", "check")),
    "most of all pixels masked": (lambda: [image(), level(NOISE, "ERR"), plane((~GALAXY).astype("u1"), "MASK")], {}, ("hides", "of the pixels")),
    "a sigma that is a variance": (lambda: [image(1e-3 * D), level((1e-3 * NOISE) ** 2, "ERR")], {}, ("times the scatter", "check")),
    "two planes of noise that disagree": (lambda: [image(), level(NOISE, "ERR"), level((5 * NOISE) ** 2, "VAR")], {}, ("[VAR] means a sigma 5 times", "sigma=")),
    "noise in a unit of another kind": (lambda: [image(BUNIT="electron"), level(NOISE, "ERR", {"BUNIT": "adu"})], {}, ("BUNIT of [ERR] is adu", "sigma=")),
    "two masks": (lambda: [image(), level(NOISE, "ERR"), plane(bits(b0=(3, 3)), "MASK"), plane(bits(b0=(5, 5)), "DQ")], {}, ("[DQ] is not taken", "mask=")),
    "a mask that is a table": (lambda: [image(), level(NOISE, "ERR"), fits.BinTableHDU.from_columns([fits.Column("a", "E", array=[1.0])], name="MASK")], {}, ("[MASK] is not taken",)),
    "a mask of all images": (lambda: [primary(), sci("SCI_A"), level(NOISE, "ERR_A"), sci("SCI_B"), plane(bits(b0=(3, 3)), "MASK")], {"_": "[SCI_A]"}, ("[MASK] is not taken as the mask of [SCI_A]",)),
    "a bit without a name": (lambda: [image(), level(NOISE, "ERR"), plane(bits(b0=(3, 3), b4=(5, 5)), "MASK", {"MP_BAD": 0})], {}, ("of [MASK] has no name", "bad_bits=")),
    "a mask of another field": (lambda: [image(), level(NOISE, "ERR")], {"mask": fits.HDUList([image(bits(), CRVAL1=150.01)])}, ("pixels away by its WCS",)),
    "a zeropoint that is not inherited": (lambda: [primary(MAGZERO=25.0), sci(INHERIT=False), level(NOISE, "ERR")], {}, ("INHERIT = F", "zeropoint=")),
    "JWST without ERR": (lambda: [primary(TELESCOP="JWST"), sci(), level(900.0, "WHT")], {"variance": "estimate"}, ()),
}


@pytest.mark.parametrize(("hdus", "given", "words"), SAID.values(), ids=SAID)
def test_what_may_be_wrong_is_said(hdus, given, words, tmp_path, heard):
    given = dict(given)
    where = given.pop("_", "")
    Image.read(f"{written(tmp_path, hdus())}{where}", **given)
    text = " ".join(heard())
    assert all(w in text for w in words), text


def test_a_section_is_a_cutout_that_knows_its_place(tmp_path):
    path = written(tmp_path, [image(FILTER="r"), level(NOISE, "ERR"), plane(PAIR.astype("u1"), "MASK"), plane(P, "PSF")])
    whole, part = Image.read(path), Image.read(f"{path}[11:42,3:40]")
    cut = whole.cutout((25.5, 20.5), (38, 32))
    assert part.shape == cut.shape == (38, 32)
    for k in ("data", "variance", "mask"):
        np.testing.assert_array_equal(getattr(part, k), getattr(cut, k))
    np.testing.assert_allclose(part.placement.to_icrs(3, 5), whole.placement.to_icrs(13, 7), atol=1e-9)
    with_files = Image.read(f"{path}[0][11:42,3:40]", sigma=f"{path}[ERR]", mask=f"{path}[MASK]")
    np.testing.assert_array_equal(with_files.mask, part.mask)
    again = Image.read(f"{path}[ 11:42 , * ]")
    assert again.shape == (64, 32)


def test_companions_are_arrays_quantities_numbers_or_paths(tmp_path):
    path = written(tmp_path, [image(BUNIT="mJy", FILTER="r")])
    noise = written(tmp_path, [primary(np.full((N, N), 1000 * NOISE), BUNIT="uJy")], "noise.fits")
    several = written(tmp_path, [primary(), level(NOISE**2, "VAR"), level(NOISE, "RMS"), plane(afw_mask()[0].astype("i4"), "MASK", afw_mask()[1]), plane(P, "EPSF")], "several.fits.gz")
    for given in ({"sigma": noise}, {"sigma": str(several)}, {"variance": several}, {"sigma": f"{several}[RMS]"}, {"sigma": 1000 * NOISE * u.uJy}, {"sigma": NOISE}):
        assert np.median(Image.read(path, **given).sigma) == pytest.approx(NOISE, rel=1e-6), given
    im = Image.read(path, sigma=NOISE, mask=several, psf=f"{several}[EPSF]")
    np.testing.assert_array_equal(im.mask, PAIR)
    np.testing.assert_allclose(im.psf.array, P / P.sum())
    im = Image.read(path, sigma=NOISE, mask=several, bad_bits=["DETECTED"])
    np.testing.assert_array_equal(im.mask, GALAXY)
    im = Image.read(path, sigma=NOISE, mask=PAIR * 8, bad_bits=[3])
    np.testing.assert_array_equal(im.mask, PAIR)
    with pytest.raises(FileNotFoundError, match="no file"):
        Image.read(path, sigma=tmp_path / "nothing.fits")
    with pytest.raises(ValueError, match="Name the one"):
        Image.read(path, mask=written(tmp_path, [primary(), level(1), level(2)], "two.fits"), sigma=1)


def test_codes_of_the_community_pipeline_are_no_bits(tmp_path):
    codes = np.zeros((N, N), "i4")
    codes[3, 3], codes[5, 5], codes[7, 7] = 5, 8, 7
    first = written(tmp_path, [primary(INSTRUME="DECam", PRODTYPE="image", PLVER="V4.8.2"), plane(D, "N15", header(FILTER="r DECam SDSS c0002 6415.0 1480.0"))], "c4d_ooi_r.fits")
    dq = written(tmp_path, [primary(INSTRUME="DECam", PRODTYPE="dqmask", PLVER="V4.8.2"), plane(codes, "N15")], "c4d_ood_r.fits")
    np.testing.assert_array_equal(Image.read(first, sigma=NOISE, mask=dq).mask, PAIR)
    im = Image.read(first, sigma=NOISE, mask=dq, bad_bits=["DIFF_DETECT"])
    assert np.argwhere(im.mask).tolist() == [[7, 7]]
    old = written(tmp_path, [primary(INSTRUME="DECam", PRODTYPE="dqmask", PLVER="V2.9"), plane(bits(b0=(3, 3), b4=(5, 5), b7=(9, 9)), "N15")], "c4d_ood_old.fits")
    np.testing.assert_array_equal(Image.read(first, sigma=NOISE, mask=old).mask, PAIR)


def test_planes_that_a_header_names_by_value(tmp_path):
    cards = {"MSKNAM00": "DETECTOR", "MSKVAL00": 1, "MSKNAM01": "SUSPECT", "MSKVAL01": 128, "TELESCOP": "PS1"}
    values = np.where(GALAXY, 128, 0) | bits(b0=([3, 5], [3, 5]))
    im = Image.read(written(tmp_path, [image()]), sigma=NOISE, mask=written(tmp_path, [primary(values.astype("i2"), **cards)], "a.mask.fits"))
    np.testing.assert_array_equal(im.mask, PAIR)


def test_a_mask_of_somebody_s_own_in_a_file_of_jwst_is_no_dq(tmp_path):
    im = Image.read(written(tmp_path, [primary(TELESCOP="JWST"), sci(), level(NOISE, "ERR"), plane((PAIR * 2).astype("u1"), "MASK")]))
    np.testing.assert_array_equal(im.mask, PAIR)


def test_blank_of_integers_is_masked(tmp_path):
    for zero, kind in ((0, "i2"), (32768, "i2"), (2147483648, "i4")):
        stored = np.where(GAP, -100, 50 + np.arange(N * N).reshape(N, N) % 90).astype(kind)
        hdu = fits.PrimaryHDU(stored, header())
        path = written(tmp_path, [hdu])
        raw = path.read_bytes()
        h = fits.Header.fromstring(raw[:2880].decode())
        h["BLANK"] = -100
        if zero:
            h["BZERO"], h["BSCALE"] = zero, 1
        path.write_bytes(h.tostring().encode() + raw[2880:])
        im = Image.read(path, sigma=3.0)
        np.testing.assert_array_equal(im.mask, GAP)
        np.testing.assert_array_equal(im.data[~GAP], stored[~GAP].astype(float) + zero)
        assert any("BLANK" in d.text for d in im.decisions)


def test_counts_of_zero_and_light_without_noise_are_data(tmp_path):
    counts = np.random.default_rng(1).poisson(0.05, (N, N)).astype("f4")
    assert not Image.read(written(tmp_path, [image(counts)]), sigma=1.0).mask.any()
    quiet = np.exp(-(((X - 31.5) ** 2 + (Y - 31.5) ** 2) / 4.0)).astype("f4")
    assert (quiet == 0).sum() > 100 and not Image.read(written(tmp_path, [image(quiet)]), sigma=1.0).mask.any()


def spoilt(path, **cards):
    """The file with the first card of each key holding what is no value."""
    raw = path.read_bytes()
    for key, text in cards.items():
        at = raw.find(key.ljust(8).encode() + b"=")
        raw = raw[:at] + f"{key:8}= {text} / spoilt".ljust(80).encode() + raw[at + 80 :]
    path.write_bytes(raw)
    return path


def test_a_value_that_cannot_be_parsed_is_text(tmp_path, heard):
    hdus = [image(FILTER="i", BUNIT="mJy", SEEING=1.0, MAGZERO=16.4), level(NOISE, "ERR")]
    im = Image.read(spoilt(written(tmp_path, hdus), FILTER="r band", BUNIT="nJy", SEEING="nan", MAGZERO="nan"))
    assert (im.band, im.zeropoint) == ("r band", pytest.approx(31.4)) and not heard()
    assert any("MAGZERO" in d.text and "parsed" in d.text for d in im.decisions)
    with pytest.raises(ValueError, match="CD1_1 must be a number; got the text 'nan'"):
        Image.read(spoilt(written(tmp_path, hdus), CD1_1="nan"))
    with pytest.raises(OSError, match="card BSCALE of its header cannot be parsed"):
        path = spoilt(written(tmp_path, [image(SEEING=1.0)]), SEEING="nan")
        path.write_bytes(path.read_bytes().replace(b"SEEING  ", b"BSCALE  "))
        Image.read(path)


def test_cards_that_are_there_twice_are_said(tmp_path, heard):
    path = written(tmp_path, [image(MAGZERO=25.0, SEEING=1.0), level(NOISE, "ERR")])
    path.write_bytes(path.read_bytes().replace(b"SEEING  =                  1.0", b"MAGZERO =                 26.0"))
    assert Image.read(path).zeropoint == 25.0 and "25.0 and with 26.0" in heard()[0]


def test_what_a_file_that_is_cut_short_lacks_is_said(tmp_path, heard):
    raw = written(tmp_path, [image(), level(NOISE, "ERR"), plane(PAIR.astype("u1"), "MASK")]).read_bytes()
    part = tmp_path / "cut.fits"
    part.write_bytes(raw[: raw.rfind(b"XTENSION") + 700])
    assert not Image.read(part).mask.any() and "cut short" in heard()[0]
    part.write_bytes(raw[: raw.rfind(b"XTENSION", 0, raw.rfind(b"XTENSION")) + 700])
    with pytest.raises(ValueError, match=r"no noise.*cut short"):
        Image.read(part)


@pytest.mark.parametrize(("rate", "gap"), [(0.02, False), (0.5, False), (2.0, False), (0.0, True), (30.0, True)])
def test_counts_over_exposure_time_keep_their_zeros(rate, gap, tmp_path):
    rng = np.random.default_rng(3)
    counts = np.where(GAP & gap, 0, rng.poisson(rate + LIGHT)).astype(float)
    if rate:
        im = Image.read(written(tmp_path, [image(counts / (1500 + 20 * np.sin(X)))]), sigma=0.001)
        np.testing.assert_array_equal(im.mask, GAP & gap)
    whole = Image.read(written(tmp_path, [image(counts.astype("i4"))]), sigma=1.0)
    np.testing.assert_array_equal(whole.mask, GAP & (rate == 30.0))


@pytest.mark.filterwarnings("ignore:Invalid value for .BLANK")
def test_blank_in_every_form_and_unscaled_pixels(tmp_path):
    stored = np.where(GAP, -100, 50 + np.arange(N * N).reshape(N, N) % 90).astype("i2")
    for zero, scale, blank in ((0.0, 0.5, "-100"), (32768, 1, "-100.0"), (10.0, 0.01, "'-100'"), (0, 1, "-100")):
        path = written(tmp_path, [fits.PrimaryHDU(stored, header())])
        raw = path.read_bytes()
        h = fits.Header.fromstring(raw[:2880].decode())
        h.update({"BSCALE": scale, "BZERO": zero, "BLANK": -100})
        path.write_bytes(h.tostring().encode() + raw[2880:])
        path = spoilt(path, BLANK=blank)
        for unscaled_ in (False, True):
            with fits.open(path, do_not_scale_image_data=unscaled_) as hdus:
                im = Image.read(hdus, sigma=3.0 * scale)
            np.testing.assert_array_equal(im.mask, GAP)
            np.testing.assert_allclose(im.data[~GAP], stored[~GAP] * float(scale) + zero, rtol=1e-5)


def test_companions_are_of_the_kind_that_they_are_given_as(tmp_path):
    path = written(tmp_path, [image()])
    several = written(tmp_path, [primary(), level(NOISE**2, "VAR"), level(NOISE**2, "UNCERT", {"UTYPE": "VarianceUncertainty"})], "several.fits")
    for given in ({"sigma": f"{several}[VAR]"}, {"sigma": f"{several}[UNCERT]"}, {"mask": f"{several}[VAR]", "sigma": 1}):
        with pytest.raises(ValueError, match=r"must be a .*; \[(VAR|UNCERT)\] of .* is a variance by its name|mask must be a mask"):
            Image.read(path, **given)
    assert Image.read(path, variance=f"{several}[UNCERT]").typical_sigma == pytest.approx(NOISE)
    with open(several, "rb") as f, pytest.raises(ValueError, match="Name the one"):
        Image.read(path, variance=f)
    with fits.open(several) as hdus:
        assert Image.read(path, variance=fits.HDUList([fits.PrimaryHDU(hdus[1].data)])).typical_sigma == pytest.approx(NOISE)
    with pytest.raises(OSError, match="variance='measure': There is no file"):
        Image.read(path, variance="measure")


def test_1e30_in_an_array_is_no_data():
    for noise in ({"sigma": NOISE}, {"variance": "estimate"}):
        np.testing.assert_array_equal(Image(np.where(GAP, 1e30, D), pixel_scale=0.2, **noise).mask, GAP)
    assert not Image(1e25 * np.abs(D), sigma=1e24, pixel_scale=0.2).mask.any()  # in erg/s, say


@pytest.mark.parametrize("source", [b"SIMPLE", D, None, 3, fits.PrimaryHDU(D)])
def test_what_is_no_source_is_refused(source):
    with pytest.raises(ValueError, match="must be a path, URL, file object or HDUList"):
        Image.read(source)


def test_a_mask_of_a_bright_neighbour_is_no_matter(heard):
    star = 300 * np.exp(-np.hypot(X - 15, Y - 45) / 4.0)
    faint = 0.5 * np.exp(-np.hypot(X - 50, Y - 12) / 2.0)
    image_ = star + faint + np.random.default_rng(1).normal(0, NOISE, (N, N))
    assert not Image(image_, sigma=NOISE, pixel_scale=0.2, mask=np.hypot(X - 15, Y - 45) < 25).decisions and not heard()


@pytest.mark.parametrize("mask", [GALAXY, GALAXY * 4, ~GALAXY])
def test_a_mask_of_the_user_s_own_that_hides_the_galaxy_is_said(mask, heard):
    ccd = CCDData(D, unit="adu", uncertainty=StdDevUncertainty(np.full((N, N), NOISE)), wcs=WCS(header()), mask=mask)
    for make in (lambda: Image(D, sigma=NOISE, pixel_scale=0.2, mask=mask), lambda: Image.from_nddata(ccd)):
        make()
        assert "hides" in heard()[-1]


def test_a_reader_of_the_user_s_own_comes_first(tmp_path):
    class Mine(Reader):
        family = "mine"

        @classmethod
        def matches(cls, file):
            return file.primary.header.get("OBSERVAT") == "backyard"

        def noise(self, sci, data):
            self.reading.decide("noise", "0.5 a pixel, as always")
            return "sigma", np.full(data.shape, 0.5)

    try:
        im = Image.read(written(tmp_path, [image(OBSERVAT="backyard", FILTER="L")]))
        assert im.typical_sigma == 0.5 and any("as always" in d.text for d in im.decisions)
        assert readers.examine(tmp_path / "some.fits").family == "mine"
    finally:
        readers.reader._REGISTRY.remove(Mine)


@pytest.mark.parametrize(
    ("text", "file", "extension", "section"),
    [
        ("a.fits", "a.fits", None, None),
        ("a.fits[3]", "a.fits", 3, None),
        ("d/a.fits.gz[SCI,2]", "d/a.fits.gz", ("SCI", 2), None),
        ("a.fits[IMAGE_R]", "a.fits", ("IMAGE_R", None), None),
        ("a.fits[1][1:20,3:40]", "a.fits", 1, ((1, 20), (3, 40))),
        ("a.fits[1:20,*]", "a.fits", None, ((1, 20), None)),
        ("a.fits[CCDID 1-1.SCI]", "a.fits", ("CCDID 1-1.SCI", None), None),
        ("a.fits[ SCI , 2 ]", "a.fits", ("SCI", 2), None),
        ("a.fits[DATA][*,*,7]", "a.fits", ("DATA", None), (None, None, (7, 7))),
        ("http://x.org/a.fits[2]", "http://x.org/a.fits", 2, None),
    ],
)
def test_addresses(text, file, extension, section):
    a = Address.of(text)
    assert (a.file, a.extension, a.section) == (file, extension, section)


def test_a_file_whose_name_has_brackets_is_itself(tmp_path):
    path = written(tmp_path, [image()], "odd[1].fits")
    assert Image.read(path, sigma=1.0).shape == (N, N)
    assert Image.read(f"{path}[0]", sigma=1.0).shape == (N, N)


@pytest.mark.parametrize(
    ("name", "beside"),
    [
        ("f115w.fits", "f115w_err.fits"),
        ("x_sci.fits", "x_wht.fits.gz"),
        ("unwise-w1-img-m.fits", "unwise-w1-invvar-m.fits"),
        ("c4d_ooi_r.fits.fz", "c4d_oow_r.fits.fz"),
        ("EUC-BGSUB-MOSAIC.fits", "EUC-RMS-MOSAIC.fits"),
        ("stk.r.unconv.fits", "stk.r.unconv.wt.fits"),
    ],
)
def test_what_lies_beside_an_image_is_named_where_noise_is_missing(name, beside, tmp_path):
    path = written(tmp_path, [image()], name)
    for other in (beside, f"other_{beside}", "catalogue.fits"):
        written(tmp_path, [primary(np.full((N, N), NOISE))], other)
    for where in ("", "[0]"):
        with pytest.raises(ValueError, match=f"no noise.*beside it lies [^,]*{re.escape(beside)}[)]"):
            Image.read(f"{path}{where}")


def test_nddata_units_and_slices():
    w = WCS(header())
    ccd = CCDData(D, unit="nJy", uncertainty=StdDevUncertainty(np.full((N, N), NOISE / 1000), unit="uJy"), wcs=w)
    im = Image.from_nddata(ccd)
    assert im.zeropoint == pytest.approx(31.4) and np.median(im.sigma) == pytest.approx(NOISE)
    assert Image.from_nddata(CCDData(D, unit="adu", uncertainty=StdDevUncertainty(D * 0 + 1), wcs=w)).zeropoint is None
    with pytest.raises(ValueError, match="mag"):
        Image.from_nddata(CCDData(D, unit="nJy", uncertainty=StdDevUncertainty(D * 0 + 1, unit="nJy"), wcs=w), zeropoint=25.0)


def test_decisions_stay_with_what_is_made_of_an_image(tmp_path):
    im = Image.read(written(tmp_path, [image(FILTER="r", TELESCOP="HST"), level(NOISE, "ERR")]))
    for other in (im.cutout((30, 30), 20), im.shifted(1, 1), im.replace(name="a")):
        assert other.decisions == im.decisions and other.telescope == im.telescope == "HST"
    assert im.replace(band="x").telescope is None


# -- files as surveys ship them ----------------------------------------------------------------------------------------


def test_real_files(data, heard):
    raw, surveys = data / "surveys" / "raw", data / "surveys"
    im = Image.read(raw / "coadd_w1_image.fits", ivar=raw / "coadd_w1_invvar.fits.gz")
    assert im.zeropoint == pytest.approx(25.199) and im.band == "W1"
    im = Image.read(raw / "exposure_r_image.fits", ivar=raw / "exposure_r_weight.fits", mask=raw / "exposure_r_dq.fits")
    assert (im.zeropoint, im.band) == (30.12, "r") and im.shape == (100, 101)
    im = Image.read(raw / "coadd_r_sci_wgt.fits")
    assert (im.zeropoint, im.band, int(im.mask.sum())) == (30.0, "r", 0)
    for b in "gri":
        im = Image.read(surveys / f"hsc_afw/{b}.fits", psf=surveys / f"hsc_afw/{b}_psf.fits")
        assert im.zeropoint == pytest.approx(27.0, abs=1e-6) and im.band == b and im.mask.mean() < 0.03
    assert not heard()
    folder = surveys / "sdss_field"
    im = Image.read(folder / "frame-r-001000-1-0100.fits.bz2", mask=folder / "fpM-001000-r1-0100.fit.gz", psf=folder / "psField-001000-1-0100.fit")
    assert im.zeropoint == 22.5 and im.typical_sigma == pytest.approx(estimate_sigma(im.data, im.valid), rel=0.05) and im.psf.varies
    fitted = fits.open(folder / "psField-001000-1-0100.fit")[6].data[0]
    for k, band in enumerate("ugriz"):
        assert (sdss.GAIN[band][0], sdss.DARK_VARIANCE[band][0]) == pytest.approx((fitted["gain"][k], fitted["dark_variance"][k]))
    spans = fits.open(folder / "fpM-001000-r1-0100.fit.gz")[1].data[1]
    column = np.frombuffer(np.asarray(spans["s"]).astype("u1").tobytes(), ">i2").reshape(-1, 3)
    assert set(column[:, 1]) == {110} and im.mask[:, 0].all() and not im.mask.all()


def test_a_flux_s_place_in_every_image_of_the_fields_is_as_before(data):
    for path in sorted((data / "real").glob("*/*.fits")):
        with fits.open(path) as hdus:
            if hdus[0].data is None or "MAGZERO" not in hdus[0].header:
                continue
            h = hdus[0].header
        im = Image.read(path)
        assert im.zeropoint == pytest.approx(h["MAGZERO"]) and im.band == h["BAND"], path
        np.testing.assert_allclose(im.placement.to_icrs(5, 7), WCS(h, naxis=2).all_pix2world(5, 7, 0), atol=1e-8)
        assert not [d for d in im.decisions if d.warning and d.about != "PSF" and "hides" not in d.text], (path, [str(d) for d in im.decisions if d.warning])


def test_folders_of_surveys_are_read_or_refused_in_words(data):
    """Every FITS image of the folders: never a traceback, never an astropy warning."""
    for path in sorted((data / "surveys").glob("*/**/*.fits*")):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                reading = readers.examine(path)
                assert reading.family, path
            except ValueError as e:
                assert 20 < len(str(e)) < 700 and "\n" not in str(e), path


def test_psf_of_an_array_of_any_size_is_kept(tmp_path):
    im = Image.read(written(tmp_path, [image(), level(NOISE, "ERR"), plane(np.pad(P, 60), "PSF")]))
    assert im.psf.shape == (141, 141) and isinstance(im.psf, PSF)
