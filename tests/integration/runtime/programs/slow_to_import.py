"""A library that takes its time, in seconds."""

import threading

threading.Event().wait(3)
