"""The control loop: compares what was asked for with what runs, and starts and stops until both agree."""
