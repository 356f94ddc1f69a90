"""A reply on a terminal while it is spoken: words appear as they come, on lines that are not too long."""

from collections.abc import Callable

from rich.cells import cell_len


class WordWrap:
    """Writes a text that grows. A word is written once it is complete, for it may belong on the next line."""

    def __init__(self, write: Callable[[str], None], *, width: int, indent: int) -> None:
        self._write = write
        self._width = width
        self._line_break = "\n" + " " * indent
        self._column = 0
        self._gap = ""
        self._word = ""

    def say(self, text: str) -> None:
        """More of the text."""
        for character in text:
            if character in " \n":
                self._finish_word()
                self._leave(character)
            else:
                self._word += character
                if cell_len(self._word) >= self._width:
                    self._finish_word()

    def end(self) -> None:
        """The text is complete."""
        self._finish_word()

    def _leave(self, gap: str) -> None:
        if gap == "\n":
            self._write(self._line_break)
            self._column, self._gap = 0, ""
        elif self._column:
            self._gap = " "

    def _finish_word(self) -> None:
        if not self._word:
            return
        if self._column and self._column + len(self._gap) + cell_len(self._word) > self._width:
            self._leave("\n")
        self._write(self._gap + self._word)
        self._column += len(self._gap) + cell_len(self._word)
        self._gap = self._word = ""
