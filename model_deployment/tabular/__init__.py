"""Tables from request bodies and CSV files: columns, with values converted by the model's signature."""
