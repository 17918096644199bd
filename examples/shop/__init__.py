"""A shop of six Django services: sagas that order, fulfil and onboard, and everything that may fail in them."""
