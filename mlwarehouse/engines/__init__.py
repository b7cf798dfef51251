"""The engines: embedded (delta-rs and DuckDB) and Spark, behind the one protocol in `base`."""
