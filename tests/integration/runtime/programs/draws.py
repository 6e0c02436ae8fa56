"""Prints random numbers."""

import random
import sys

import numpy as np

sys.stdout.write(f"random: {random.random()}" + "\n")
sys.stdout.write(f"numpy: {np.random.random()}" + "\n")
sys.stdout.write(f"generator: {np.random.default_rng().random()}" + "\n")
