from src.core.config import Config
from src.core.fieldhelp import fieldhelp


class Outer(Config):
    """Two lines of help."""

    size: int = 1
    """How large,
    and no larger."""
    plain: int = 2
    of: "int | None" = None
    """Of what."""

    class Inner(Config):
        size: int = 3
        """Within."""


class Heir(Outer):
    plain: int = 4
    """Not so plain."""


def help_of(model):
    return {name: field.description for name, field in model.model_fields.items()}


def test_the_line_under_a_field_is_its_help():
    assert help_of(Outer) == {"size": "How large,\nand no larger.", "plain": None, "of": "Of what."}
    assert Outer.model_json_schema()["properties"]["of"]["description"] == "Of what."


def test_help_is_inherited_and_replaced():
    assert help_of(Heir) == {"size": "How large,\nand no larger.", "plain": "Not so plain.", "of": "Of what."}


def test_classes_within_classes_and_functions_have_their_own():
    class Local(Config):
        size: int = 5
        """Here."""

    assert help_of(Outer.Inner) == {"size": "Within."}
    assert help_of(Local) == {"size": "Here."}


def test_a_class_without_source_has_none():
    made = type("Made", (Config,), {"__module__": "nowhere", "__annotations__": {"size": int}})
    assert fieldhelp(made) == {}
    assert help_of(made) == {"size": None}
