"""Pattern: a child service finishes a task, and the parent that asked for it learns how it ended, whatever dies."""
