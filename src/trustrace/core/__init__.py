"""The nouns of trustrace: frozen values, the error tree, intervals, seeded draws, the config base. No input or output."""
