"""Received: what a push brings to a server is looked at before any ref moves; the hook pre-receive asks."""
