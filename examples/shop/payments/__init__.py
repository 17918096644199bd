"""Who paid what, by a gateway outside; and what is owed in tax."""
