"""``make demo``: three applications under real servers log through a local hub, and none of it is lost."""
