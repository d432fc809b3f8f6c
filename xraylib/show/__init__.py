"""Figures and sliders."""
