"""Slack, and the many services that Apprise knows."""
