"""The processes of what people use instead: each written as its own users would, with its own package only."""
