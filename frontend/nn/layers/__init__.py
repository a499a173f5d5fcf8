"""The layers of `smelt.nn`, one file a family."""
