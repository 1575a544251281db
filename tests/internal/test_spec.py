import pytest

from keras_distill._internal import InputError, _spec
from keras_distill._internal._spec import Spec


@pytest.mark.parametrize(
    ("text", "kind", "argument", "options"),
    [
        ("digits", "digits", "", {}),
        (" digits ", "digits", "", {}),
        ("dscnn?width=2", "dscnn", "", {"width": "2"}),
        ("tfds:mnist:3.0.1?size=8x8&label=y", "tfds", "mnist:3.0.1", {"size": "8x8", "label": "y"}),
        ("images:/a?b/c?size=8x8", "images", "/a?b/c", {"size": "8x8"}),
        ("npz:data.npz?", "npz", "data.npz", {}),
    ],
)
def test_parse(text, kind, argument, options):
    spec = Spec.parse("data", text)
    assert (spec.kind, spec.argument, dict(spec.options)) == (kind, argument, options)


@pytest.mark.parametrize(
    "text", ["", " ", None, 3, "a?b", "a?=b", "a?b=", "a?b=1&b=2", "a?b=1&&c=2"]
)
def test_bad_specs(text):
    with pytest.raises(InputError, match="`data` must"):
        Spec.parse("data", text)


def test_options_are_read_or_refused():
    spec = Spec.parse("data", "a?b=2&c=x")
    assert spec.read(b=_spec.count(), c=_spec.text, d=_spec.flag) == {"b": 2, "c": "x"}
    with pytest.raises(InputError, match=r"of a: b, d"):
        spec.read(b=_spec.count(), d=_spec.flag)
    with pytest.raises(InputError, match=r"of a: none"):
        spec.read()


@pytest.mark.parametrize(
    ("reader", "text"),
    [
        (_spec.count(), "0"),
        (_spec.count(), "-1"),
        (_spec.count(), "²"),
        (_spec.count(), "1e3"),
        (_spec.number(), "x"),
        (_spec.number(), "inf"),
        (_spec.number(above=0), "0"),
        (_spec.size, "8"),
        (_spec.size, "8x"),
        (_spec.size, "8x8x8"),
        (_spec.flag, "true"),
    ],
)
def test_readers_refuse(reader, text):
    with pytest.raises(InputError, match="`width` must"):
        reader("width", text)


@pytest.mark.parametrize(
    ("reader", "text", "message"),
    [
        (_spec.size, "100000x100000", "have at most 16777216 pixels"),
        (_spec.count(), "9" * 5000, r"be a whole number in 1\.\.1000000000"),
        (_spec.count(2), "100000000000", "be <= 1000000000"),
        (_spec.number(above=0), "1e-320", "be > 0"),
    ],
)
def test_sizes_are_bounded(reader, text, message):
    with pytest.raises(InputError, match=message) as caught:
        reader("x", text)
    assert len(str(caught.value)) < 500
