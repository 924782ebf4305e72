"""`LanguageModel` and statements become `Activations`: captured fast, streamed to disk, loaded again."""
