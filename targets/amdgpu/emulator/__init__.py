"""A functional emulator of gfx942: runs code objects without a device, and says what they did wrong."""
