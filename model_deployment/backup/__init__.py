"""Makes backups of a data directory, also while the controller runs, and restores them after a check."""
