"""What this project claims to be faster at, each claim measured against a peer in the same run."""
