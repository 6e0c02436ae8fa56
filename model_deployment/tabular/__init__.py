"""Tables in request bodies and files: the same columns, names and values whatever form they came in."""
