"""The countermeasures to missing isolation, each seen at work."""
