"""The jobs of the operator, against moto and the fake table."""
