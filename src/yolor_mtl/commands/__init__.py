"""What each verb does, between its words and the rooms; nothing here computes."""
