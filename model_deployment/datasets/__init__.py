"""Datasets for download: captured requests, or the training data, as CSV, JSON lines or Parquet."""
