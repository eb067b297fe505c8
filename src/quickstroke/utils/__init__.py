"""What every room may use: files, the cache of compiled code, hashing, pickles, the machine."""
