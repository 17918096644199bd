"""What grows with the years: rows that are not sent, sagas that have ended, long sagas, rows that came and went."""
