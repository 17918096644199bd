"""FastAPI, Starlette and ASGI at large: what runs beside an application, and what is put in its transactions."""
