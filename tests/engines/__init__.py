"""The tables, read by real query engines: `make engines` fetches them, `make test-engines` runs these tests."""
