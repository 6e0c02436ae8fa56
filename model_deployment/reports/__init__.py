"""Degradation reports in the controller: writes their inputs, runs the child process, keeps the outcome."""
