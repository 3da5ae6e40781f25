// RUN: lower passes test-eat-memory | filecheck %s

// CHECK: 100 MiB at a time
// CHECK: No options.
