"""`amends dev`: everything a saga needs, on the developer's own machine, begun anew whenever a source changes."""
