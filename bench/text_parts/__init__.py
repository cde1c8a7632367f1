"""Peers and plots of the text bench."""
