import jinja2
import pytest

from keras_distill._internal._templates import Templates


def fill(folder, text, **values):
    (folder / "t.txt").write_text(text)
    return Templates(folder, html=False).get_template("t.txt").render(**values)


@pytest.mark.parametrize("name", ["get", "items", "copy"])
def test_a_key_wins_over_a_method_of_its_name(name, tmp_path):
    assert fill(tmp_path, f"{{{{ x.{name} }}}}", x={name: "value"}) == "value"


def test_methods_can_be_called(tmp_path):
    assert (
        fill(tmp_path, "{% for k, v in x.items() %}{{ k }}={{ v }}{% endfor %}", x={"a": 1})
        == "a=1"
    )


def test_a_function_is_never_printed(tmp_path):
    with pytest.raises(TypeError, match="prints a function"):
        fill(tmp_path, "{{ x.get }}", x={"a": 1})


def test_a_name_that_does_not_exist_is_an_error(tmp_path):
    with pytest.raises(jinja2.UndefinedError):
        fill(tmp_path, "{{ x.b }}", x={"a": 1})
