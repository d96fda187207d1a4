"""What one reconciliation consists of: listing the cluster, and writing what follows from it, subject by subject."""
