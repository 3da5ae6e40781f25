// RUN: lower passes test-hang | filecheck %s

// Applying it takes for ever: tests/unit/test_faults.py does so in a worker, and so with test-eat-memory.
// CHECK: Never comes back.
// CHECK: No options.
