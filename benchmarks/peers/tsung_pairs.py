"""Tsung's configuration for users in pairs that play ping-pong, each in its own session.

After each message it sends, a user waits for any data (ack "local"), so two users answer each
other. Messages are fixed texts: Tsung adds nothing to them, not even an id.
"""

from string import Template
from xml.sax.saxutils import escape

START_S = 2  # seconds from Tsung's start until all users start at once
LOGIN_S = 2.0  # seconds from a user's login until it plays
TURNS = 1_000_000

_TEST = Template("""<?xml version="1.0"?>
<!DOCTYPE tsung SYSTEM "/usr/share/tsung/tsung-1.0.dtd">
<tsung loglevel="warning">
  <clients><client host="localhost" use_controller_vm="true" maxusers="$maximum"/></clients>
  <servers><server host="127.0.0.1" port="$port" type="tcp"/></servers>
  <load>
    <user session="player*" start_time="$start" unit="second"/>
  </load>
  <options>
    <option type="ts_jabber" name="domain" value="localhost"/>
    <option type="ts_jabber" name="global_number" value="1"/>
  </options>
  <sessions>$sessions</sessions>
</tsung>
""")
_SESSION = Template("""
    <session name="player$number" probability="$probability" type="ts_jabber">
      <request><jabber type="connect" ack="local">$user</jabber></request>
      <request><jabber type="auth_sasl" ack="local">$user</jabber></request>
      <request><jabber type="connect" ack="local"/></request>
      <request><jabber type="auth_sasl_bind" ack="local" resource="r"/></request>
      <thinktime value="$login"/>$first
      <for from="1" to="$turns" var="turn">$pause
        <request><jabber type="raw" ack="local" data="$message"/></request>
      </for>
    </session>""")
_USER = '<xmpp_authenticate username="user_{0}" passwd="password_{0}"/>'
_WAIT = '<request><jabber type="wait" ack="local"/></request>'
_MESSAGE = escape("<message to='user_{}@localhost/r' type='chat'><body>{}</body></message>")


def configuration(port: int, users: int, body: str, pause: float) -> str:
    """Return the configuration. `pause` is the time before each message (s)."""
    sessions = "".join(_session(number, body, pause) for number in range(1, users + 1))
    return _TEST.substitute(maximum=users + 1, port=port, start=START_S, sessions=sessions)


def _session(number: int, body: str, pause: float) -> str:
    serves = number % 2 == 1
    return _SESSION.substitute(
        number=number,
        probability=100 if number == 1 else 0,
        user=_USER.format(number),
        login=LOGIN_S
        if serves
        else LOGIN_S / 2,  # the waiting user must be ready before the serving one
        first="" if serves else _WAIT,
        turns=TURNS,
        pause=f'<thinktime value="{pause}"/>' if pause else "",
        message=_MESSAGE.format(number + 1 if serves else number - 1, body),
    )
