"""One XMPP stream: connection, login, parsing, acknowledgement and resumption."""
