"""The tables by which the kernel keeps system calls that no rule can match; bpf/ uses these same words.

- A **clause** is a conjunction of parts of one rule's condition. A rule matches if one of its clauses holds.
- A **signal** is one thing that the kernel knows of a call: the process, the arguments and the result, the name of the
  file (as passed, as made absolute, as resolved), the ends of the connection.
- A test is **decidable** in the kernel if one signal decides it, for the kind of call at hand.
- A **partition** is the range of clauses for the calls (openat, connect …) to which the same parts of rules apply.
- A **candidate set** is a bit set over a partition: the clauses that one value of one signal doesn't rule out. Where a
  value is unknown, it has all clauses.
- The **candidates** of a call are the intersection of the candidate sets of its signals. A call without any stays in
  the kernel. A candidate that is **exact** certainly matches, others are for user space to decide.
- An **automaton** finds the candidate sets of a name. It is made together with the rules (``tables``). The candidate
  sets of processes, arguments and connections are **learned** from the calls that reach user space (``learner``).
- The **rule counters** say, by rule and control group, which calls the kernel passed on, suppressed or lost.
"""
