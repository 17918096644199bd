"""A pipeline: a hundred messages through three services of ten workers each, and a record of where each has been."""
