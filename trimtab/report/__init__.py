"""Figures and pages rendered from results."""
