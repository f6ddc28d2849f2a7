"""The library: articles, audio and video, who may see them, how they are delivered, and what was watched."""
