"""JSON documents taken apart where they lie: the values of their fields, and columns of those."""
