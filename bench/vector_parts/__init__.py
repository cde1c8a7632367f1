"""The parts of the vector bench, one question each, and what they share."""
