"""The template body, its charts, and distances along its surface."""
