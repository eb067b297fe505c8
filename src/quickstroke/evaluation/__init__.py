"""Exact metrics of a model, and its calibration."""
