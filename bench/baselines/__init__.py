"""What a section compares amends with, where that is no contestant of its own."""
