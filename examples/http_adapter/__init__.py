"""A billing service that embeds nothing takes part in sagas by HTTP."""
