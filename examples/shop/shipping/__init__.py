"""Where parcels go, and what that costs."""
