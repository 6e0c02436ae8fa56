"""Log lines, and the passwords that are taken out of them."""
