"""Data forms (XEP-0004): build submissions and read received forms."""

from collections.abc import Iterable, Mapping
from xml.etree.ElementTree import Element

from amoc_gevent.xmpp.names import DATA
from amoc_gevent.xmpp.stanzas.stanza import escaped

FORM_TAG = f"{{{DATA}}}x"
_FIELD_TAG = f"{{{DATA}}}field"
_VALUE_TAG = f"{{{DATA}}}value"

Value = str | bool | int | Iterable[str]
"""The value of a field; several values for a list."""


def submission(form_type: str | None = None, values: Mapping[str, Value] | None = None) -> str:
    """Return a submitted form as XML. `form_type` is its FORM_TYPE (XEP-0068)."""
    fields = "" if form_type is None else _field("FORM_TYPE", (form_type,), " type='hidden'")
    for name, value in (values or {}).items():
        fields += _field(name, _texts(value))
    return f"<x xmlns='{DATA}' type='submit'>{fields}</x>"


def filled(form: Element) -> dict[str, list[str]]:
    """Return the values of a form's fields, by name."""
    return {
        field.get("var", ""): [value.text or "" for value in field.iter(_VALUE_TAG)]
        for field in form.iter(_FIELD_TAG)
    }


def _field(name: str, values: Iterable[str], more: str = "") -> str:
    texts = "".join(f"<value>{escaped(value)}</value>" for value in values)
    return f"<field var='{escaped(name)}'{more}>{texts}</field>"


def _texts(value: Value) -> Iterable[str]:
    if isinstance(value, bool):
        return ("1" if value else "0",)
    return (str(value),) if isinstance(value, str | int) else value
