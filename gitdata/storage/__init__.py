"""Storage: git, the cache of blobs, DVC remotes and their configuration."""
