"""What was ordered, and how it stands."""
