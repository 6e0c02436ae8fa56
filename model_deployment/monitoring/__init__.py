"""What models see, how well they do, and when they go bad."""
