"""What sinks on the network share: the egress policy, TLS, the HTTP client, deadlines."""
