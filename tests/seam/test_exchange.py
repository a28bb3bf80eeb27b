"""Files that one ArviZ wrote are read with the other, and their diagnostics are the same (`make arviz1` runs both ways)."""

import os

import numpy as np
import pytest
import xarray as xr
from loaded import found, groups, seam

OTHER = os.environ.get("BAYESJOINT_EXCHANGED")
pytestmark = pytest.mark.skipif(OTHER is None, reason="no file of the other ArviZ: BAYESJOINT_EXCHANGED names it (make arviz1)")


def test_the_file_is_the_other_arviz_s_and_holds_the_same():
    back = seam.load_kind(OTHER, "posterior")
    assert (int(back["found"].attrs["arviz"].split(".")[0]) >= 1) != seam.is_modern()
    for name, group in groups().items():
        xr.testing.assert_identical(back[name].drop_encoding(), group)


def test_arviz_itself_reads_it():
    import arviz

    data = arviz.from_netcdf(OTHER)
    assert list(data["posterior"]["band"].values) == ["g", "i-2"] and data["posterior"]["galaxy.x"].attrs["units"] == "arcsec"
    assert float(arviz.rhat(data["posterior"].ds if seam.is_modern() else data["posterior"])["galaxy.x"]) == pytest.approx(found()["r_hat"].values[0])


def test_diagnostics_are_the_other_arviz_s():
    there, here = seam.load_kind(OTHER, "posterior")["found"], found()
    assert set(there) == set(here)
    for k in here:
        assert np.allclose(here[k].values, there[k].values, rtol=1e-6, atol=1e-9), k
