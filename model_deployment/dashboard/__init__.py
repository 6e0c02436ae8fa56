"""The pages for people: what runs, how it does, and what can be done about it, in a browser."""
