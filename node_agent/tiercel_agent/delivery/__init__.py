"""From an alert to local outputs and sinks: matching, silences, throttles, queues, spools and workers."""
