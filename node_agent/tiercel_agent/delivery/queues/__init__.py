"""What waits for one sink: fair between namespaces, on the disk or in memory."""
