"""Text -> ids with character offsets. One module for each kind of unit: subword pieces, words, characters."""
