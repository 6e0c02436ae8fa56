"""Tests of drift and of data quality, and metrics of labelled rows. Decides nothing."""
