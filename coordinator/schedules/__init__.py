"""Schedules: sagas that start by the clock (S4). `docs/schedules.md` tells what users are promised."""
