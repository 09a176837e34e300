"""Automation: hooks that wake a runner, the spool of jobs, and the runner that runs commands."""
