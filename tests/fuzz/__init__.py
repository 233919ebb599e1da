"""What strangers could hand us, as bytes: targets, what was found with them, and how to go on."""
