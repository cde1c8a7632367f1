"""Vectors to look at: a sample of a collection as points of a plane."""
