"""Keeps the proxies: starts, watches and replaces them, gives them routes, adds up what they count."""
