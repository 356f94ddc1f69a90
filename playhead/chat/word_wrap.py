"""Word wrap for text that arrives in pieces."""

from collections.abc import Callable

from rich.cells import cell_len


class WordWrap:
    """Writes text that arrives in pieces. A word is written once it is complete, as it may go on the next line."""

    def __init__(self, write: Callable[[str], None], *, width: int, indent: int) -> None:
        self._write = write
        self._width = width
        self._line_break = "\n" + " " * indent
        self._column = 0
        self._gap = ""
        self._word = ""

    def write(self, text: str) -> None:
        """Add a piece of the text."""
        for character in text:
            if character in " \n":
                self._finish_word()
                self._add_gap(character)
            else:
                self._word += character
                if cell_len(self._word) >= self._width:
                    self._finish_word()

    def end(self) -> None:
        """Write the last word: the text is complete."""
        self._finish_word()

    def _add_gap(self, gap: str) -> None:
        if gap == "\n":
            self._write(self._line_break)
            self._column, self._gap = 0, ""
        elif self._column:
            self._gap = " "

    def _finish_word(self) -> None:
        if not self._word:
            return
        if self._column and self._column + len(self._gap) + cell_len(self._word) > self._width:
            self._add_gap("\n")
        self._write(self._gap + self._word)
        self._column += len(self._gap) + cell_len(self._word)
        self._gap = self._word = ""
