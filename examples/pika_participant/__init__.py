"""A participant written from docs/protocol.md with pika and psycopg alone, as it would be in another language."""
