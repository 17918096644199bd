"""Tables, migrations, engines and the embedded PostgreSQL."""
