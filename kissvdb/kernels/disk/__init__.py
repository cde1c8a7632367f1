"""A graph whose nodes lie in the pages of a file: packed, read and searched."""
