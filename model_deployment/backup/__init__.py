"""Backups of a data directory: made while the controller runs, checked before they are put back."""
