"""The node agent: watches system calls, evaluates rules, hands alerts on."""
