"""A teacher behind a server that scores our token ids."""
