"""Metrics of models: joins ground truth with captures, and compares metrics with their baseline."""
