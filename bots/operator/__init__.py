"""What the operator of an installation sees and does about bots and posts: pages of the panel (docs/moderation.md)."""
