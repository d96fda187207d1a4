"""Helpers of the tests that watch real system calls."""
