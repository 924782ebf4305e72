"""The information plane: what a representation T keeps of its input X and of the label Y, each number beside what chance gives."""
