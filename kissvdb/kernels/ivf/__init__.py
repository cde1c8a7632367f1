"""Inverted lists of rows (IVF): centroids learnt, rows put into lists, lists scanned."""
