"""Writers: who writes text for prompts, and follows a student whose weights move."""
