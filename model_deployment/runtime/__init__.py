"""What starts, watches and stops model processes."""
