"""The command line: starts a controller, calls a running one, manages users and backups."""
