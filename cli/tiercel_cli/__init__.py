"""The command line: one entry point, `tiercel`, whose subcommands call the engine, the agent and the operator."""
