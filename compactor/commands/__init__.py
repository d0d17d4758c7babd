"""One room for each verb."""
