"""What runs do. The flows import a step when a run needs it: the runner stays small."""
