"""What somebody asks the search for, taken apart: the same for every database, and harmless to it.

Words that must all be there, "words in a row", and -excluded ones. What comes out holds neither signs nor operators.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

MOST_CHARACTERS = 200
MOST_TERMS = 16
UNWANTED = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
WORD = re.compile(r"[^\W_]+")
TERM = re.compile(r'(-?)(?:"([^"]*)"|([^\s"]+))')
# PostgreSQL's English stop words: they are in no index there, and make no question of their own here.
STOP_WORDS_OF_ENGLISH = """
i me my myself we our ours ourselves you your yours yourself yourselves he him his himself she her hers herself it
its itself they them their theirs themselves what which who whom this that these those am is are was were be been
being have has had having do does did doing a an the and but if or because as until while of at by for with about
against between into through during before after above below to from up down in out on off over under again further
then once here there when where why how all any both each few more most other some such no nor not only own same so
than too very s t can will just don should now
"""
STOP_WORDS = frozenset(STOP_WORDS_OF_ENGLISH.split())


@dataclass(frozen=True, slots=True)
class Term:
    """Words that must stand together in what is found, or must not."""

    words: str
    excluded: bool = False


def terms(question: str) -> Sequence[Term]:
    """What is asked for; nothing where no word is left to look for."""
    text = cleaned(question)[:MOST_CHARACTERS]
    found = []
    for excluded, phrase, word in TERM.findall(text):
        words = [one.lower() for one in WORD.findall(phrase or word)]
        if not all(one in STOP_WORDS for one in words):
            found.append(Term(" ".join(words), excluded == "-"))
    return tuple(found[:MOST_TERMS]) if any(not term.excluded for term in found[:MOST_TERMS]) else ()


def cleaned(text: str) -> str:
    """In the form in which texts are indexed, and without characters that no text needs."""
    return UNWANTED.sub(" ", unicodedata.normalize("NFC", text))
