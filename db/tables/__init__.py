"""Every table, as SQLAlchemy Core metadata. Migrations create them; a test holds the two against each other."""
