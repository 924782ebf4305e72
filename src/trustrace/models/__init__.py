"""Where checkpoints come from, how they are loaded and proved, where their blocks are: `Checkpoint` becomes `LanguageModel`."""
