"""Archives: one writer and one reader over what each modality's `coding` says."""
