"""Many models, one run of the claims each: planned in a file, run here or on a cluster, read as one table and page."""
