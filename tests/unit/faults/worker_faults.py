"""Jobs that misbehave, for the worker's tests. Imported by the child process."""

import ctypes
import os
import time


def double(argument, at):
    at("doubling")
    return 2 * argument


def raises(argument, at):
    at("3: some-pass")
    raise ValueError("no such thing\nsecond line")


def dies(argument, at):
    at("4: bad-pass")
    print("last words", flush=True)
    ctypes.string_at(0)


def hangs(argument, at):
    at("5: slow-pass")
    if os.fork() == 0:  # a grandchild must not outlive the time-out either
        time.sleep(60)
    time.sleep(60)


def walks(argument, at):
    for step in range(8):
        at(str(step))
        time.sleep(0.5)
    return "there"


def eats(argument, at):
    hoard = []
    while True:
        hoard.append(bytearray(os.urandom(1 << 20)) * 8)


def own_pid(argument, at):
    return os.getpid()


def damages_the_next_check(argument, at):
    """What a wrong state that was run before can have done to its process."""
    from lowering import state_check

    state_check.tried = lambda *_: ctypes.string_at(0)
