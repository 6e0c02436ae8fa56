"""The values, states and rules that everything else speaks in: the standard library only, no effects."""
