"""One offline HTML page of a CT and its organs, drawn by NiiVue in the browser."""

from viewer.page import write_page

__all__ = ["write_page"]
