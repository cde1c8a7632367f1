"""What finds near rows without looking at all of them: kinds of index, and the compiled code."""
