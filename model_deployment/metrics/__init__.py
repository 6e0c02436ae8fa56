"""How well models do: late ground truth joined with captures, and metrics beside their baseline."""
