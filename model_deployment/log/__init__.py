"""The form of log lines, and the removal of passwords from them."""
