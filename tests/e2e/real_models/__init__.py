"""Real models behind one controller, which ends with the last of these tests."""
