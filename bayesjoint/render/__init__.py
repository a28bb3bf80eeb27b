"""Render: light through PSF and pixels."""
