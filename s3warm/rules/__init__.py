"""Pure rules: values in, verdict out. No I/O, no clock, no lock."""
