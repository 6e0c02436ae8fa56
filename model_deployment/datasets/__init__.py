"""Streams datasets for download: captured requests or training data, as CSV, JSON lines or Parquet."""
