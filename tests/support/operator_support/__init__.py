"""SecurityRules, AlertSinks and statuses for the operator's tests."""
