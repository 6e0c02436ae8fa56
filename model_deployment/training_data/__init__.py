"""Versions of training data: the check of an upload, and the files with what is known of each."""
