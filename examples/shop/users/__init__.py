"""Who shops here: sign-ups, profiles, roles; and whether one may be trusted."""
