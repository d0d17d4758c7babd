"""What reads, merges and writes the files of a batch: this process, or Spark."""
