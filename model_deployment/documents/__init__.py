"""Where captures, labels, metrics and reports are kept: MongoDB, or a file of our own.

Never touched by a request: what is answered goes to the spool, and from there to here.
"""
