"""Members: who they are, how they sign in, and by which tokens they stay signed in."""
