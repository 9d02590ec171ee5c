"""The C++ run-time header, and what compiles and loads it."""
