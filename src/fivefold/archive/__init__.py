"""Archives: one writer and one reader of all modalities, over their `Coding`."""
