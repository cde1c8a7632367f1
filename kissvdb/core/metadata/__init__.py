"""The metadata of rows as columns and bitmaps: a filter becomes one bitmap."""
