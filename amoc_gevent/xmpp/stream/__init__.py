"""One XMPP stream: opened, logged in, read, acknowledged, resumed."""
