"""Prints random numbers."""

import random

import numpy as np

print(f"random: {random.random()}")
print(f"numpy: {np.random.random()}")
print(f"generator: {np.random.default_rng().random()}")
