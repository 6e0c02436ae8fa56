"""Environments of models: built once, shared by models with the same needs, removed with the last one."""
