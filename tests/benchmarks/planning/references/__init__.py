"""Reference planners: the pairs are formed first and stay, then a well-known engine routes them. Needed by the benchmarks only."""
