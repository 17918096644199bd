"""`amends adopt`: the exact changes with which a project takes amends in, as a patch."""
