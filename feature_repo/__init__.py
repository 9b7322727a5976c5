"""Feast entities, sources, views and services, built from a dataset spec."""
