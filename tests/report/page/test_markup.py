from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from slipway.report.page.markup import element, table


class Read(HTMLParser):
    """What a browser would make of it: elements with attributes, and text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


# a browser makes line ends and NULs its own
TEXT = st.text(st.sampled_from("<>&\"'/= ab;")) | st.text(st.characters(exclude_categories=["Cs", "Cc"]))


@given(TEXT, TEXT)
def test_text_stays_text(child: str, attribute: str) -> None:
    read = Read(element("p", child, title=attribute))
    assert read.elements == [("p", {"title": attribute})]
    assert read.text == child


@given(st.lists(st.lists(TEXT, min_size=2, max_size=2), max_size=3))
def test_cells_stay_cells(rows: list[list[str]]) -> None:
    read = Read(table(("a", "b"), rows))
    assert read.text == "ab" + "".join(cell for row in rows for cell in row)
    assert [name for name, _ in read.elements].count("td") == 2 * len(rows)


def test_markup_within_markup_is_kept_and_attributes_are_named_as_in_html() -> None:
    found = element(
        "div", element("i", class_="a"), "<", aria_hidden="true", hidden=True, id=None, open=False
    )
    assert found == '<div aria-hidden="true" hidden><i class="a"></i>&lt;</div>'
    assert element("path", d="M0 0") == '<path d="M0 0"/>'
