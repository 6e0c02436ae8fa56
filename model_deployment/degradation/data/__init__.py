"""What a report compares: captures, labels and reference, as tables and as pairs of columns."""
