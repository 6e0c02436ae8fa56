"""Starts, watches and stops the processes of launches; measures them and keeps their logs."""
